// CSV (RFC 4180), read for the preview only: the server reads what it is sent by itself.

/**
 * @param {string} text
 * @returns {{header: string[], rows: {line: number, cells: string[]}[]}} each row with the line that it
 *   begins on, as the server counts: from 1, the header's
 */
export function parse(text) {
  const records = [...read(text.replace(/^\ufeff/, ''))];
  return { header: records[0]?.cells ?? [], rows: records.slice(1) };
}

function* read(text) {
  let line = 1;
  let at = 0;
  while (at < text.length) {
    if (text[at] === '\n' || text[at] === '\r') {
      line += text[at] === '\n' ? 1 : 0;
      at += 1;
      continue;
    }
    const record = { line, cells: [] };
    let more = true;
    while (more) {
      const cell = text[at] === '"' ? quoted(text, at + 1) : plain(text, at);
      record.cells.push(cell.value);
      line += cell.lines;
      at = cell.end;
      more = text[at] === ',';
      if (more) at += 1;
    }
    yield record;
  }
}

function plain(text, start) {
  const stop = /[,\r\n]/g;
  stop.lastIndex = start;
  const end = stop.exec(text)?.index ?? text.length;
  return { value: text.slice(start, end), end, lines: 0 };
}

/** Two quotes stand for one; what follows the closing one, up to the comma, belongs to the cell. */
function quoted(text, start) {
  let value = '';
  let at = start;
  for (;;) {
    const quote = text.indexOf('"', at);
    if (quote < 0) return { value: value + text.slice(at), end: text.length, lines: newlines(text.slice(start)) };
    value += text.slice(at, quote);
    at = quote + 1;
    if (text[at] !== '"') break;
    value += '"';
    at += 1;
  }
  const rest = plain(text, at);
  return { value: value + rest.value, end: rest.end, lines: newlines(text.slice(start, at)) };
}

const newlines = (text) => text.split('\n').length - 1;
