"""Random lives of tasks, kills and faults on a real API server, for as long as one likes."""
