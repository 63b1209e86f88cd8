--# Names that a labelled column goes by.

-- masked
SELECT ssn FROM customers WHERE id = 1;

-- masked
SELECT ssn AS note, email AS id FROM public.customers WHERE id = 1;

-- masked
SELECT "ssn", "email" FROM "public"."customers" WHERE "id" = 1;

-- masked
SELECT U&"s\0073n" FROM customers WHERE id = 1;

-- masked
SELECT U&"s!0073n" UESCAPE '!' FROM customers WHERE id = 1;

-- masked
SELECT SSN FROM CUSTOMERS WHERE ID = 1;

-- masked
SELECT public.customers.ssn FROM public.customers WHERE id = 1;

-- masked
SELECT * FROM customers WHERE id = 1;

-- masked
SELECT c.* FROM customers c WHERE c.id = 1;

-- masked
TABLE customers;

-- masked
SELECT * FROM ONLY customers;

-- masked
SELECT * FROM customers *;

-- masked
SELECT a.z FROM customers AS a (i, n, z) WHERE a.i = 1;

-- masked
SELECT ssn FROM customers NATURAL JOIN (SELECT 1 AS id) q;

-- masked from 14
SELECT j.id, c.ssn FROM customers c JOIN (SELECT 1 AS id) q USING (id) AS j;

-- masked
SELECT j FROM (customers c JOIN events e ON e.customer = c.id) j LIMIT 1;

-- masked
SELECT j.* FROM (customers c JOIN events e ON e.customer = c.id) j LIMIT 1;

-- masked
SELECT initial FROM customers WHERE id = 1;

-- masked
SELECT customers.* FROM customers, events WHERE customers.id = 1 LIMIT 1;

-- masked
SELECT ssn, ssn, ssn FROM customers WHERE id = 1;

-- masked
SELECT ssn "id", id "ssn" FROM customers WHERE id = 1;

-- masked
SELECT /* nothing */ ssn -- here
FROM/**/customers WHERE id = 1;

-- passes
SELECT id, name FROM customers ORDER BY id;

-- passes
SELECT c.name AS ssn, c.id AS email FROM customers c ORDER BY c.id;

-- passes
SELECT a.n FROM customers AS a (i, n, z) WHERE a.i = 1;
