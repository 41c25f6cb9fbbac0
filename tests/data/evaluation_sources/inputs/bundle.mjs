import bus from '../javascript/event-bus.mjs';
import { Scheduler, State } from './scheduler.ts';

const scheduler = new Scheduler(2)
  .add({ name: 'fetch', retries: 3, run: (signal) => fetch('/readings', { signal }) })
  .add({ name: 'draw', after: ['fetch'], run: async () => bus.publish('chart.draw', Date.now(), { retain: true }) });

scheduler.onChange((entry) => bus.publish(`job.${entry.job.name}`, State[entry.state]));
scheduler.run().then((states) => bus.publish('jobs.done', [...states]));
