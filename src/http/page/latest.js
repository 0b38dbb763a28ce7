// Work that is asked for again and again, as on every key: only the latest answer counts.

/**
 * Waits until nothing was asked for `pause` milliseconds, then runs; what still runs is aborted. `run`
 * takes the arguments of the call and, last, an AbortSignal. What is returned also has `now`, without
 * the wait.
 */
export function latest(pause, run) {
  let timer;
  let controller;
  const now = (...given) => {
    clearTimeout(timer);
    controller?.abort();
    controller = new AbortController();
    return run(...given, controller.signal);
  };
  const later = (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => now(...given), pause);
  };
  return Object.assign(later, { now });
}
