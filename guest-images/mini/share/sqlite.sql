-- SPDX-License-Identifier: GPL-2.0-or-later
--
-- A database of over 50 MB, built and queried: sqlite3 -bail FILE <sqlite.sql
--
-- The data follow from arithmetic, so every answer is known beforehand: the
-- keys are a permutation of 1..100002 (multiples of 7919 modulo the prime
-- 100003). An answer that is wrong violates `verify`, which ends the run.
PRAGMA journal_mode = MEMORY;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -98304;     -- KB: what a server would give it

CREATE TEMP TABLE verify (what TEXT, ok INTEGER CHECK (ok));

CREATE TABLE item (
    id INTEGER PRIMARY KEY,
    key INTEGER NOT NULL,
    grp INTEGER NOT NULL,
    name TEXT NOT NULL,
    body BLOB NOT NULL
);

WITH RECURSIVE n (id) AS (
    VALUES (1) UNION ALL SELECT id + 1 FROM n WHERE id < 100002
)
INSERT INTO item
SELECT id, id * 7919 % 100003, id % 64, 'item ' || (id * 7919 % 100003),
       CAST(printf('%0480d', id) AS BLOB)
FROM n;

CREATE UNIQUE INDEX item_key ON item (key);
CREATE INDEX item_name ON item (name);

INSERT INTO verify
SELECT 'at least 50 MB', page_count * page_size >= 50000000
FROM pragma_page_count, pragma_page_size;

-- Every row once, by group.
CREATE TEMP TABLE total AS
SELECT grp, count(*) AS rows, sum(key) AS keys, sum(length(body)) AS bytes
FROM item GROUP BY grp;

INSERT INTO verify
SELECT 'group by', count(*) = 64 AND sum(rows) = 100002
       AND sum(keys) = 100002 * 100003 / 2 AND sum(bytes) = 480 * 100002
FROM total;

-- 40,000 rows from anywhere: by primary key, then by each index.
CREATE TEMP TABLE pick AS
WITH RECURSIVE r (n, x) AS (
    VALUES (1, 12345)
    UNION ALL SELECT n + 1, (x * 1103515245 + 12345) % 2147483648 FROM r
    WHERE n < 40000
)
SELECT n, x / 16 % 100002 + 1 AS id FROM r;

INSERT INTO verify
SELECT 'by id', count(*) = 40000 AND sum(key = id * 7919 % 100003) = 40000
       AND sum(CAST(CAST(body AS TEXT) AS INTEGER) = id) = 40000
FROM pick JOIN item USING (id);

INSERT INTO verify
SELECT 'by key', count(*) = 40000 AND sum(item.id = pick.id) = 40000
FROM pick CROSS JOIN item ON item.key = pick.id * 7919 % 100003;

INSERT INTO verify
SELECT 'by name', count(*) = 40000 AND sum(item.id = pick.id) = 40000
FROM pick CROSS JOIN item ON item.name = 'item ' || (pick.id * 7919 % 100003);

SELECT 'sqlite ' || sqlite_version() || ': ' || (page_count * page_size)
       || ' bytes, ' || (SELECT count(*) FROM verify) || ' answers right'
FROM pragma_page_count, pragma_page_size;
