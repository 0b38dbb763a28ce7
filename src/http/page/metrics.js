// Prometheus' metrics, as they are scraped, and what two scrapes say together.

/**
 * @param {string} text in the OpenMetrics format
 * @returns {{name: string, labels: Record<string, string>, value: number}[]}
 */
export function parse(text) {
  return text.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => {
    const [, name, inner = '', value] = /^([^{ ]+)(?:\{(.*)\})? (\S+)/.exec(line);
    const labels = [...inner.matchAll(/([^=,]+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, it]) => [key, it]);
    return { name, labels: Object.fromEntries(labels), value: Number(value) };
  });
}

/** The sum over all series of a metric that `wanted` holds of. */
export const sum = (metrics, name, wanted = () => true) => metrics
  .filter((metric) => metric.name === name && wanted(metric.labels))
  .reduce((total, { value }) => total + value, 0);

/** The buckets of a histogram, summed over its series: `[upper bound, count]`, cumulative, ascending. */
export function buckets(metrics, name, wanted = () => true) {
  const counts = new Map();
  for (const { labels, value } of metrics.filter((it) => it.name === `${name}_bucket` && wanted(it.labels))) {
    const bound = labels.le === '+Inf' ? Infinity : Number(labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return [...counts].sort(([a], [b]) => a - b);
}

/** What came between two looks at the same buckets. */
export function between(later, earlier) {
  const before = new Map(earlier);
  return later.map(([bound, count]) => [bound, count - (before.get(bound) ?? 0)]);
}

/** The quantile of a histogram, linear within its bucket as Prometheus does it; undefined without values. */
export function quantile(share, cumulative) {
  const total = cumulative.at(-1)?.[1] ?? 0;
  if (total === 0) return undefined;
  const rank = share * total;
  const at = cumulative.findIndex(([, count]) => count >= rank);
  const [low, below] = at > 0 ? cumulative[at - 1] : [0, 0];
  const [high, count] = cumulative[at];
  if (high === Infinity) return low;
  return low + (high - low) * ((rank - below) / (count - below));
}
