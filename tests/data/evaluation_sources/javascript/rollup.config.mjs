import resolve from '@rollup/plugin-node-resolve';
import terser from '@rollup/plugin-terser';
import pkg from './package.json' with { type: 'json' };

const production = !process.env.ROLLUP_WATCH;

export default [
  {
    input: 'src/index.js',
    output: [
      { file: pkg.main, format: 'cjs', sourcemap: true, exports: 'named' },
      { file: pkg.module, format: 'es', sourcemap: true },
    ],
    external: Object.keys(pkg.dependencies ?? {}),
    plugins: [resolve()],
  },
  {
    input: 'src/browser.js',
    output: { file: pkg.unpkg, format: 'umd', name: 'Tidewater', banner: `/*! ${pkg.name} ${pkg.version} */` },
    plugins: [resolve({ browser: true }), production && terser({ compress: { passes: 2 } })],
  },
];
