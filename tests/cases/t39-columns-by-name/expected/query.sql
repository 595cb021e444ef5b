SELECT a, b, renamed FROM t
