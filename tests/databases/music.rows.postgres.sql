-- Rows of the tables of music.postgres.sql, with the values at the edges of their types.
INSERT INTO artist SELECT n, 'artist ' || n FROM generate_series(1, 20) n;
UPDATE artist SET name = E'Motörhead\t"\\''; ' WHERE artist_id = 3;
INSERT INTO album SELECT n, 'album ' || n, 1 + n % 20, date '1970-01-01' + n * 97 FROM generate_series(1, 60) n;
UPDATE album SET released = NULL WHERE album_id % 7 = 0;
INSERT INTO genre VALUES (1, 'rock'), (2, 'jazz'), (-32768, ''), (32767, '音楽');
INSERT INTO "Media Type" VALUES (1, 'file'), (2, NULL);
INSERT INTO track SELECT n, 1 + n % 60, CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN 1 ELSE 2 END, 1 + n % 2,
    'track ' || n, n, n / 100.0, decode(lpad(to_hex(n), 8, '0'), 'hex') FROM generate_series(1, 500) n;
UPDATE track SET waveform = '\x' WHERE track_id = 5;
INSERT INTO employee VALUES (1, 1.85, NULL, true), (2, NULL, 1, false), (3, 5e-324, 1, true), (4, 1.7976931348623157e308, 2, true);
INSERT INTO customer SELECT n, n || '@example.org', 1 + n % 4,
    timestamptz '2001-01-01 00:00:00.123456+00' + n * interval '1 day 1 second' FROM generate_series(1, 40) n;
INSERT INTO invoice SELECT n, 1 + n % 40, timestamp '1999-12-31 23:59:59.999999' + n * interval '1 hour',
    n * 0.0000000001 FROM generate_series(1, 80) n;
UPDATE invoice SET total = -9999999999999999999999999999.9999999999 WHERE invoice_id = 80;
INSERT INTO invoice_line SELECT 1 + n / 3, n % 3, 1 + n, 1 FROM generate_series(0, 200) n;
INSERT INTO playlist VALUES (1, 'all'), (2, ''), (3, NULL);
INSERT INTO playlist_track SELECT 1, n FROM generate_series(1, 300) n;
