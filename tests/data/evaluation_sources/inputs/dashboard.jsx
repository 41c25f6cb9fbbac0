import React, { useEffect, useMemo, useState } from 'react';
import { formatRelative } from './time';

const UNITS = { temperature: '°C', humidity: '%', pressure: 'hPa' };

function Sparkline({ values, width = 160, height = 32 }) {
  const points = useMemo(() => {
    const low = Math.min(...values), high = Math.max(...values);
    const scale = high === low ? 0 : (height - 2) / (high - low);
    return values.map((v, i) => `${(i * width) / (values.length - 1)},${height - 1 - (v - low) * scale}`).join(' ');
  }, [values, width, height]);
  return (
    <svg className="sparkline" viewBox={`0 0 ${width} ${height}`} role="img" aria-label="history">
      <polyline points={points} fill="none" stroke="currentColor" strokeWidth="1.5" />
    </svg>
  );
}

function Tile({ sensor, onSelect }) {
  const { name, kind, values, updated } = sensor;
  const stale = Date.now() - updated > 15 * 60 * 1000;
  return (
    <li className={stale ? 'tile tile--stale' : 'tile'}>
      <button type="button" onClick={() => onSelect(sensor)}>
        <h3>{name}</h3>
        <p>
          <strong>{values.at(-1)?.toFixed(1) ?? '–'}</strong> {UNITS[kind]}
        </p>
        {values.length > 1 && <Sparkline values={values} />}
        <small>{stale ? `last seen ${formatRelative(updated)}` : 'live'}</small>
      </button>
    </li>
  );
}

export default function Dashboard({ url, interval = 5000 }) {
  const [sensors, setSensors] = useState([]);
  const [error, setError] = useState(null);
  const [selected, setSelected] = useState(null);

  useEffect(() => {
    const controller = new AbortController();
    const refresh = async () => {
      try {
        const response = await fetch(url, { signal: controller.signal });
        if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
        setSensors(await response.json());
        setError(null);
      } catch (problem) {
        if (problem.name !== 'AbortError') setError(problem.message);
      }
    };
    refresh();
    const timer = setInterval(refresh, interval);
    return () => {
      controller.abort();
      clearInterval(timer);
    };
  }, [url, interval]);

  return (
    <main>
      {error && <p className="banner banner--error">The sensors cannot be reached: {error}</p>}
      <ul className="tiles">
        {sensors.map((sensor) => (
          <Tile key={sensor.id} sensor={sensor} onSelect={setSelected} />
        ))}
      </ul>
      {selected && <dialog open onClose={() => setSelected(null)}>{JSON.stringify(selected, null, 2)}</dialog>}
    </main>
  );
}
