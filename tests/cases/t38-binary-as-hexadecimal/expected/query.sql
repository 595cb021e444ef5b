SELECT id, typeof(b), b FROM t ORDER BY id
