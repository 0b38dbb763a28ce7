// Numbers, times and counts as people read them.

export const score = (value) => (value === undefined || value === null ? '–' : value.toFixed(3));

export const percent = (value) => (value === undefined || value === null ? '–' : `${(100 * value).toFixed(1)} %`);

export const count = (many, one, several = `${one}s`) =>
  `${many.toLocaleString('en')} ${many === 1 ? one : several}`;

/** Seconds in the largest unit that makes sense. */
export function duration(seconds) {
  if (seconds === undefined || seconds === null || Number.isNaN(seconds)) return '–';
  if (seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 90) return `${seconds.toFixed(1)} s`;
  return `${Math.round(seconds / 60)} min`;
}

export const time = (stamp) =>
  stamp ? new Date(stamp).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'medium' }) : '–';
