import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const BUDGET = 500;

// A user reads it before trusting it with a key. Comments and the declarations do not count.
test('the library stays small', () => {
  const source = new URL('../src/', import.meta.url);
  const files = readdirSync(source).filter((name) => name.endsWith('.js')).map((name) => readFileSync(new URL(name, source), 'utf8'));
  const lines = files.flatMap((text) => text.split('\n')).filter((line) => line.trim() && !/^\s*(\/\/|\/\*\*)/.test(line));
  assert.ok(lines.length > 200 && lines.length < BUDGET, `${lines.length} lines`);
});
