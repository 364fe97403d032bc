-- The type that the first bytes of a file tell, such as image/png, where its name tells none.
ALTER TABLE sync_files ADD COLUMN kind TEXT;
