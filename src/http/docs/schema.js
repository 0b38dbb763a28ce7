// Schemas for people: a kind in a few words, an object as a table of its fields.

import { h, scrollable, table } from './dom.js';
import { prose } from './prose.js';

const BOUNDS = {
  minimum: 'at least', exclusiveMinimum: 'more than', maximum: 'at most', exclusiveMaximum: 'less than',
  minItems: 'items from', maxItems: 'items up to', maxLength: 'characters up to', pattern: 'pattern', default: 'default',
};

const nameOf = (reference) => reference.split('/').pop();

const resolved = (api, schema) => (schema.$ref ? api.components.schemas[nameOf(schema.$ref)] : schema);

/** A schema in a few words. */
export function kind(schema) {
  if (schema.$ref) return nameOf(schema.$ref);
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return choices.map((choice) => choice.title ?? kind(choice)).join(', or ');
  if (schema.allOf) return schema.allOf.map(kind).join(' and ');
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(', ');
  if ('const' in schema) return JSON.stringify(schema.const);
  const types = [schema.type ?? 'any'].flat();
  const named = types.map((type) => (type === 'array' ? `list of ${kind(schema.items ?? {})}` : type)).join(' or ');
  // What no number of JavaScript exceeds is no bound to people.
  const bounds = Object.entries(BOUNDS).filter(([name]) => name in schema && !(schema[name] > Number.MAX_SAFE_INTEGER))
    .map(([name, words]) => `${words} ${JSON.stringify(schema[name])}`);
  return bounds.length > 0 ? `${named} (${bounds.join(', ')})` : named;
}

/** An object's fields, or those of each form that it may have; else the schema in words. */
export function schemaBlock(api, schema, seen = []) {
  // What narrows another schema is called as that one.
  const reference = schema.$ref ?? schema.allOf?.[0].$ref;
  const name = reference && nameOf(reference);
  const whole = resolved(api, schema);
  const forms = (whole.oneOf ?? whole.anyOf ?? []).filter((form) => fieldsOf(api, form).length > 0);
  if (forms.length > 0 && !seen.includes(name)) {
    return forms.flatMap((form) => [
      h('p', { class: 'hint' }, `Form: ${form.title ?? kind(form)}`),
      ...schemaBlock(api, form, [...seen, name]),
    ]);
  }
  const fields = fieldsOf(api, whole);
  if (fields.length === 0) return [h('p', {}, h('code', {}, kind(whole)))];
  const title = `Fields of ${whole.title ?? name ?? 'the object'}`;
  return [scrollable(title, table(title, ['Field', 'What it is', 'Meaning'], fields.map((field) => [
    h('th', { scope: 'row' }, h('code', {}, field.name + (field.required ? '' : '?'))),
    kind(field.schema),
    h('td', {}, ...prose(field.schema.description)),
  ])))];
}

/** All fields of an object, each with what its parts say of it; what may only be null is none. */
function fieldsOf(api, schema) {
  const whole = resolved(api, schema);
  const fields = new Map();
  const add = ({ name, schema: said, required }) => {
    const known = fields.get(name);
    fields.set(name, { name, schema: { ...known?.schema, ...said }, required: required || Boolean(known?.required) });
  };
  for (const part of whole.allOf ?? []) fieldsOf(api, part).forEach(add);
  for (const [name, field] of Object.entries(whole.properties ?? {})) {
    if (field.type !== 'null') add({ name, schema: field, required: (whole.required ?? []).includes(name) });
  }
  return [...fields.values()];
}
