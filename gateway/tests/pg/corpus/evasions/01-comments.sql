--# Comments and whitespace around what is forbidden.

-- denied
/* SELECT */ DROP/**/TABLE orders;

-- denied
DROP -- nothing
TABLE -- more
orders;

-- denied
/* /* nested */ */ DROP TABLE orders;

-- denied
/* '*/ DROP TABLE orders /*'*/;

-- denied
 -- ' " $$ /*
TRUNCATE orders;

-- denied
	 	DROP	TABLE	orders;

-- denied
DELETE/**/FROM/**/orders;

-- denied
DELETE FROM orders -- WHERE id = 1;

-- denied
DELETE FROM orders /* WHERE id = 1 */;

-- denied
SELECT 1 /*; DROP TABLE orders; */; DROP TABLE orders;

-- denied
SELECT 1;;;DROP TABLE orders;

-- denied
;DROP TABLE orders;

-- denied
UPDATE orders SET item = 'x' -- '
-- WHERE id = 1;

-- denied
/*+ SeqScan(orders) */ DELETE FROM orders;

-- denied
DROP /* IF EXISTS */ TABLE /* nothing */ IF /**/ EXISTS orders;

-- denied: the last comment does not end
SELECT 1; DROP TABLE orders /* x;

-- denied: a vertical tab is a space for newer servers alone
DROPTABLEorders;

-- passes
SELECT 1 /* DROP TABLE orders */;

-- passes
SELECT 1 -- DROP TABLE orders
;

-- passes
/* DROP TABLE orders */ SELECT count(*) FROM orders;

-- denied
DROPTABLEorders;
