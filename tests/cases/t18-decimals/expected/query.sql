SELECT id, price, typeof(price), big FROM t ORDER BY id
