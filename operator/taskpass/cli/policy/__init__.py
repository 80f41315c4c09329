"""`taskpass policy`: decisions on files, before anything is applied."""
