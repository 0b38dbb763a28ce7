// What the page works out by itself, held against what is known.

import assert from 'node:assert/strict';

import { flow } from './stage.js';

flow('the principal components keep distances that lie in a plane', async (page) => {
  const found = await page.evaluate(async () => {
    const { pca } = await import('/page/pca.js');
    const [a, b] = [[0.6, 0, 0.8, 0, 0], [0, 1, 0, 0, 0]];
    const plane = [[0, 0], [3, 0], [3, 1], [-2, 5], [7, -1]];
    const rows = plane.map(([x, y]) => a.map((_, i) => 4 + x * a[i] + y * b[i]));
    return { plane, ...pca(rows), single: pca([[1, 2], [1, 2]]) };
  });
  const distances = (points) => points.flatMap((p) => points.map((q) => Math.hypot(p[0] - q[0], p[1] - q[1])));
  const expected = distances(found.plane);
  // Double precision, after a power iteration that ends at 1e-12.
  distances(found.points).forEach((distance, i) => assert.ok(Math.abs(distance - expected[i]) < 1e-4));
  assert.ok(Math.abs(found.explained[0] + found.explained[1] - 1) < 1e-9, `${found.explained}`);
  assert.ok(found.explained[0] > found.explained[1]);
  assert.deepEqual(found.single, { points: [[0, 0], [0, 0]], explained: [0, 0] });
});

flow('CSV is read as the server reads it, lines included', async (page) => {
  const parsed = await page.evaluate(async () => (await import('/page/csv.js')).parse(
    '\ufefftext,topic\r\n"two\nlines, ""quoted""",a\r\n\r\nplain,b\n"open,c'));
  assert.deepEqual(parsed, {
    header: ['text', 'topic'],
    rows: [
      { line: 2, cells: ['two\nlines, "quoted"', 'a'] },
      { line: 5, cells: ['plain', 'b'] },
      { line: 6, cells: ['open,c'] },
    ],
  });
});

flow('quantiles are taken from buckets as Prometheus takes them', async (page) => {
  const found = await page.evaluate(async () => {
    const { buckets, parse, quantile } = await import('/page/metrics.js');
    const text = ['# TYPE d histogram', 'd_bucket{le="1.0",a="x"} 1', 'd_bucket{le="2.0",a="x"} 3',
      'd_bucket{le="+Inf",a="x"} 4', 'd_bucket{le="1.0",a="y"} 5', 'd_bucket{le="2.0",a="y"} 5', 'd_bucket{le="+Inf",a="y"} 5', '# EOF'].join('\n');
    const d = buckets(parse(text), 'd', ({ a }) => a === 'x');
    return [quantile(0.5, d), quantile(0.25, d), quantile(1, d), quantile(0.5, []) ?? null];
  });
  assert.deepEqual(found, [1.5, 1, 2, null]);
});
