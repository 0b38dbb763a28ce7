// Principal component analysis of a few vectors, each as long as you like.

/**
 * The first two principal components.
 * @param {number[][]} rows n vectors
 * @returns {{points: [number, number][], explained: [number, number]}} each row's coordinates, and the
 *   share of the variance that each axis explains
 *
 * By the Gram matrix of the centred rows (n × n), whose eigenvectors times the root of their eigenvalues
 * are the coordinates: the vectors are longer than they are many.
 */
export function pca(rows) {
  const centred = centre(rows);
  const gram = centred.map((a) => centred.map((b) => dot(a, b)));
  const total = gram.reduce((sum, row, i) => sum + row[i], 0);
  const axes = [0, 1].map(() => takeLargest(gram));
  const axis = ({ value, vector }) => vector.map((it) => it * Math.sqrt(value));
  const [x, y] = axes.map(axis);
  return {
    points: rows.map((_, i) => [x[i], y[i]]),
    explained: axes.map(({ value }) => (total > 0 ? value / total : 0)),
  };
}

export const dot = (a, b) => a.reduce((sum, it, i) => sum + it * b[i], 0);

function centre(rows) {
  const mean = rows[0].map((_, column) => rows.reduce((sum, row) => sum + row[column], 0) / rows.length);
  return rows.map((row) => row.map((it, column) => it - mean[column]));
}

/** The largest eigenvalue and its vector, by power iteration; `matrix` loses them (deflation). */
function takeLargest(matrix) {
  // Any start that no eigenvector is orthogonal to; the same each time, so that the map stands still.
  let vector = normalised(matrix.map((_, i) => Math.sin(i + 1)));
  let value = 0;
  for (let step = 0; step < 500; step += 1) {
    const next = matrix.map((row) => dot(row, vector));
    const length = Math.sqrt(dot(next, next));
    if (length < 1e-12) return { value: 0, vector: vector.map(() => 0) };
    const moved = Math.abs(length - value);
    value = length;
    vector = next.map((it) => it / length);
    if (moved < 1e-12 * length) break;
  }
  matrix.forEach((row, i) => row.forEach((_, j) => { row[j] -= value * vector[i] * vector[j]; }));
  return { value, vector };
}

function normalised(vector) {
  const length = Math.sqrt(dot(vector, vector));
  return vector.map((it) => it / length);
}
