-- How the bytes of a finished transfer were proven.
ALTER TABLE transfers ADD COLUMN verified_by TEXT;
