//! SFTP tests.
