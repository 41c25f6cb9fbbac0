SET client_min_messages = warning;
TRUNCATE TABLE station, line RESTART IDENTITY CASCADE;

INSERT INTO line (code, name, colour) VALUES
    ('U1', 'Harbour - Airport', '#0b7a3b'),
    ('U2', 'Ring', '#c8102e'),
    ('N9', 'Night bus', NULL);

INSERT INTO station (id, name, zone, lat, lon, step_free) VALUES (1, 'Harbour', 'A', 53.5459, 9.9666, TRUE);
INSERT INTO station (id, name, zone, lat, lon, step_free) VALUES (2, 'Fish Market', 'A', 53.5448, 9.9512, FALSE);
INSERT INTO station (id, name, zone, lat, lon, step_free) VALUES (3, 'St. John''s Square', 'A', 53.5502, 9.9780, TRUE);
INSERT INTO station (id, name, zone, lat, lon, step_free) VALUES (4, 'University', 'B', 53.5671, 9.9839, TRUE);
INSERT INTO station (id, name, zone, lat, lon, step_free) VALUES (5, 'Zoo', 'B', 53.5958, 9.9383, FALSE);
INSERT INTO station (id, name, zone, lat, lon, step_free) VALUES (6, 'Airport', 'C', 53.6323, 10.0065, TRUE);

INSERT INTO stop (line, station, position, minutes)
SELECT 'U1', s.id, row_number() OVER (ORDER BY s.id), (s.id - 1) * 4
FROM station s
WHERE s.id IN (1, 3, 4, 6);

SELECT setval('station_id_seq', (SELECT max(id) FROM station));
ANALYZE station;
