-- +migrate Up
ALTER TABLE contacts ADD COLUMN given_name TEXT;
ALTER TABLE contacts ADD COLUMN family_name TEXT;

UPDATE contacts
   SET given_name  = trim(substr(full_name, 1, instr(full_name || ' ', ' ') - 1)),
       family_name = nullif(trim(substr(full_name, instr(full_name || ' ', ' '))), '');

CREATE INDEX contacts_family_name ON contacts (family_name COLLATE NOCASE);
ALTER TABLE contacts DROP COLUMN full_name;

-- +migrate Down
ALTER TABLE contacts ADD COLUMN full_name TEXT NOT NULL DEFAULT '';
UPDATE contacts SET full_name = trim(coalesce(given_name, '') || ' ' || coalesce(family_name, ''));
DROP INDEX contacts_family_name;
ALTER TABLE contacts DROP COLUMN given_name;
ALTER TABLE contacts DROP COLUMN family_name;
