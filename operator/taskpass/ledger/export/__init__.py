"""The log as files: directories, zips, lines in other schemas, and over HTTP."""
