-- Named storage with credentials; the secrets in the options are sealed.
CREATE TABLE locations (
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    options TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (owner, name)
);

-- The key that all secrets of this catalogue are sealed with, by its fingerprint; one row.
CREATE TABLE sealing_keys (
    id BIGINT NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL
);
