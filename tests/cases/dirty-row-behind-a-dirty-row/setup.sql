CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT CHECK (note <> 'bad'));
