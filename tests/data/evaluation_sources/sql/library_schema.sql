-- Lending library, PostgreSQL 14 or newer
BEGIN;

CREATE SCHEMA IF NOT EXISTS library;
SET search_path TO library, public;

CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE TYPE copy_state AS ENUM ('available', 'lent', 'reserved', 'repair', 'lost');
CREATE DOMAIN isbn13 AS char(13) CHECK (VALUE ~ '^97[89][0-9]{10}$');

CREATE TABLE author (
    author_id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    family_name text NOT NULL,
    given_name  text,
    born        smallint,
    died        smallint,
    CONSTRAINT author_lifespan CHECK (died IS NULL OR died >= born)
);

CREATE TABLE title (
    title_id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    isbn       isbn13 UNIQUE,
    name       text NOT NULL,
    language   char(2) NOT NULL DEFAULT 'en',
    published  date,
    subjects   text[] NOT NULL DEFAULT '{}',
    search     tsvector GENERATED ALWAYS AS (to_tsvector('simple', name)) STORED
);

CREATE TABLE title_author (
    title_id  integer REFERENCES title ON DELETE CASCADE,
    author_id integer REFERENCES author ON DELETE RESTRICT,
    position  smallint NOT NULL DEFAULT 1,
    PRIMARY KEY (title_id, author_id),
    UNIQUE (title_id, position)
);

CREATE TABLE copy (
    barcode   varchar(14) PRIMARY KEY,
    title_id  integer NOT NULL REFERENCES title,
    branch    text NOT NULL,
    state     copy_state NOT NULL DEFAULT 'available',
    acquired  date NOT NULL DEFAULT current_date,
    price     numeric(8, 2) CHECK (price >= 0)
);

CREATE TABLE reader (
    reader_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    card      varchar(10) NOT NULL UNIQUE,
    name      text NOT NULL,
    valid     daterange NOT NULL,
    blocked   boolean NOT NULL DEFAULT false
);

CREATE TABLE loan (
    loan_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    barcode   varchar(14) NOT NULL REFERENCES copy,
    reader_id uuid NOT NULL REFERENCES reader,
    lent_at   timestamptz NOT NULL DEFAULT now(),
    due_on    date NOT NULL,
    back_at   timestamptz,
    renewals  smallint NOT NULL DEFAULT 0 CHECK (renewals BETWEEN 0 AND 3),
    EXCLUDE USING gist (barcode WITH =, tstzrange(lent_at, back_at) WITH &&)
);

CREATE INDEX title_search_idx ON title USING gin (search);
CREATE INDEX title_name_trgm_idx ON title USING gin (name gin_trgm_ops);
CREATE INDEX loan_open_idx ON loan (reader_id, due_on) WHERE back_at IS NULL;

CREATE VIEW overdue AS
SELECT r.card, r.name, t.name AS title, l.due_on, current_date - l.due_on AS days
  FROM loan l
  JOIN reader r USING (reader_id)
  JOIN copy c USING (barcode)
  JOIN title t USING (title_id)
 WHERE l.back_at IS NULL
   AND l.due_on < current_date
 ORDER BY days DESC;

COMMENT ON TABLE copy IS 'One physical book; its barcode is glued to the back cover.';
COMMENT ON COLUMN loan.renewals IS 'Each renewal adds 14 days to due_on.';

GRANT USAGE ON SCHEMA library TO desk, catalogue;
GRANT SELECT ON ALL TABLES IN SCHEMA library TO desk;
GRANT INSERT, UPDATE ON loan, copy TO desk;

COMMIT;
