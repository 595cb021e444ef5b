CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, balance DECIMAL(10,2), born DATE, note TEXT, seen INTEGER DEFAULT 7);
INSERT INTO people VALUES (1, 'old', 0, NULL, 'x', 1), (9, 'stays', 9, NULL, NULL, 9);
