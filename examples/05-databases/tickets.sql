-- What the agent is to read: a table, in the database support.
CREATE SCHEMA tickets;
CREATE TABLE tickets.ticket (id int PRIMARY KEY, text text NOT NULL);
INSERT INTO tickets.ticket SELECT i, 'ticket ' || i FROM generate_series(1, 4715) i;
INSERT INTO tickets.ticket VALUES (4716, 'The printer on the third floor is on fire again');
