// Loads bundles by transformers.js and runs them.
//
//     node load_bundles.mjs JOBS.json ANSWERS.json
//
// In: `{folder, jobs: [{name, loader, file, inputs: {name: {type, dims, data}}}]}`, where each bundle is
// `folder/name`. Out: for each job `{error}` or `{outputs: {name: {dims, data}}}`. The package is found from the current
// folder, as Node finds it for a program there.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const here = createRequire(`${process.cwd()}/`);
const js = here('@huggingface/transformers');
const { folder, jobs } = JSON.parse(readFileSync(process.argv[2]));
js.env.allowRemoteModels = false;
js.env.localModelPath = `${folder}/`;

function tensor({ type, dims, data }) {
  return new js.Tensor(type, type === 'int64' ? BigInt64Array.from(data, BigInt) : Float32Array.from(data), dims);
}

function plain(value) {
  return { dims: value.dims, data: Array.from(value.data, Number) };
}

async function answer({ name, loader, file, inputs }) {
  const model = await js[loader].from_pretrained(name, { dtype: 'fp32', model_file_name: file });
  const given = Object.fromEntries(Object.entries(inputs).map(([key, value]) => [key, tensor(value)]));
  const found = await model(given);
  await model.dispose();
  const tensors = Object.entries(found).filter(([, value]) => value instanceof js.Tensor);
  return { outputs: Object.fromEntries(tensors.map(([key, value]) => [key, plain(value)])) };
}

const answers = [];
for (const job of jobs) {
  try {
    answers.push(await answer(job));
  } catch (error) {
    answers.push({ error: String(error).split('\n')[0] });
  }
}
writeFileSync(process.argv[3], JSON.stringify(answers));
