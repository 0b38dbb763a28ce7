// Each test in a line, each failure with its reason, and the sum in the last line.

export default async function* report(events) {
  let [passed, failed] = [0, 0];
  for await (const { type, data } of events) {
    // The file itself is reported as a test, too: worth a word if it could not even begin.
    if (data.name?.endsWith('.test.js') && (type !== 'test:fail' || passed + failed > 0)) continue;
    if (type === 'test:pass') {
      passed += 1;
      yield `ok   ${data.name} (${Math.round(data.details.duration_ms)} ms)\n`;
    }
    if (type === 'test:fail') {
      failed += 1;
      const { cause } = data.details.error;
      yield `FAIL ${data.name}\n${cause?.stack ?? cause ?? data.details.error.stack}\n`;
    }
    if (type === 'test:stderr') yield data.message;
  }
  yield `${passed} passed, ${failed} failed\n`;
}
