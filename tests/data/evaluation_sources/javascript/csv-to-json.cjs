#!/usr/bin/env node
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const USAGE = `usage: csv-to-json [--delimiter CHAR] [--array] [--out FILE] INPUT

Reads a CSV file with a header and prints one JSON object a line (or one array).`;

function* rows(text, delimiter) {
  let field = '';
  let row = [];
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (quoted) {
      if (char === '"' && text[i + 1] === '"') {
        field += '"';
        i++;
      } else if (char === '"') {
        quoted = false;
      } else {
        field += char;
      }
    } else if (char === '"' && field === '') {
      quoted = true;
    } else if (char === delimiter) {
      row.push(field);
      field = '';
    } else if (char === '\n') {
      row.push(field.replace(/\r$/, ''));
      yield row;
      row = [];
      field = '';
    } else {
      field += char;
    }
  }
  if (field !== '' || row.length > 0) {
    row.push(field);
    yield row;
  }
}

function guess(value) {
  if (value === '') return null;
  if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(value)) return Number(value);
  if (value === 'true' || value === 'false') return value === 'true';
  return value;
}

function convert(text, delimiter) {
  const iterator = rows(text, delimiter);
  const { value: header, done } = iterator.next();
  if (done) return [];
  const records = [];
  let line = 1;
  for (const row of iterator) {
    line++;
    if (row.length !== header.length) {
      throw new Error(`line ${line}: expected ${header.length} fields, got ${row.length}`);
    }
    records.push(Object.fromEntries(header.map((name, i) => [name.trim(), guess(row[i])])));
  }
  return records;
}

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      delimiter: { type: 'string', short: 'd', default: ',' },
      array: { type: 'boolean', short: 'a', default: false },
      out: { type: 'string', short: 'o' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help || positionals.length !== 1) {
    console.error(USAGE);
    process.exit(values.help ? 0 : 2);
  }
  const records = convert(fs.readFileSync(path.resolve(positionals[0]), 'utf8'), values.delimiter);
  const output = values.array
    ? JSON.stringify(records, null, 2) + '\n'
    : records.map((record) => JSON.stringify(record) + '\n').join('');
  if (values.out) fs.writeFileSync(values.out, output);
  else process.stdout.write(output);
}

module.exports = { rows, convert };
if (require.main === module) main();
