--# Aggregates and window functions.

-- masked
SELECT min(ssn), max(email) FROM customers;

-- masked
SELECT string_agg(ssn, ','), array_agg(email), json_agg(ssn), jsonb_agg(email) FROM customers;

-- denied
SELECT string_agg(ssn, ',' ORDER BY ssn) FROM customers;

-- masked
SELECT json_object_agg(id, ssn), jsonb_object_agg(id, email) FROM customers;

-- masked
SELECT xmlagg(xmlelement(name a, ssn)) FROM customers;

-- masked
SELECT sum(salary), avg(salary), stddev(salary), variance(salary), bit_and(salary), bit_or(salary) FROM customers;

-- masked
SELECT max(born), min(born) FROM customers;

-- masked
SELECT bool_and(ssn IS NULL), bool_or(ssn LIKE '000%'), every(ssn > '0') FROM customers;

-- masked
SELECT corr(salary, id), regr_slope(salary, id), covar_pop(salary, id) FROM customers;

-- denied
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY ssn) FROM customers;

-- denied
SELECT mode() WITHIN GROUP (ORDER BY email) FROM customers;

-- denied
SELECT rank('000-73-9184') WITHIN GROUP (ORDER BY ssn) FROM customers;

-- masked
SELECT first_value(ssn) OVER () FROM customers WHERE id = 1;

-- masked
SELECT last_value(email) OVER (ORDER BY id), nth_value(ssn, 1) OVER (ORDER BY id) FROM customers;

-- masked
SELECT lag(ssn) OVER (ORDER BY id), lead(email) OVER (ORDER BY id) FROM customers;

-- masked
SELECT sum(salary) OVER (ORDER BY id), max(ssn) OVER w FROM customers WINDOW w AS (PARTITION BY id);

-- denied
SELECT id, row_number() OVER (ORDER BY ssn) FROM customers;

-- denied
SELECT id, rank() OVER w FROM customers WINDOW w AS (PARTITION BY email);

-- denied
SELECT ntile(2) OVER (ORDER BY salary), percent_rank() OVER (ORDER BY salary) FROM customers;

-- denied
SELECT count(DISTINCT ssn) FROM customers;

-- denied
SELECT count(*) FILTER (WHERE ssn > '1') FROM customers;

-- denied
SELECT ssn, count(*) FROM customers GROUP BY ssn;

-- denied
SELECT ssn, count(*) FROM customers GROUP BY ROLLUP (1);

-- masked
SELECT id, max(ssn) FROM customers GROUP BY id ORDER BY id;

-- masked
SELECT id, ssn FROM customers GROUP BY id ORDER BY id;

-- masked
SELECT max(max(ssn)) OVER () FROM customers GROUP BY id;

-- denied
SELECT glued(email) FROM customers;

-- masked from 16
SELECT any_value(ssn) FROM customers;

-- masked from 16
SELECT JSON_ARRAYAGG(ssn), JSON_OBJECTAGG(id: email) FROM customers;

-- passes: a count gives nothing away
SELECT count(ssn) FROM customers;

-- passes
SELECT count(*), count(id), max(name), string_agg(name, ',' ORDER BY id) FROM customers;

-- passes
SELECT id, row_number() OVER (ORDER BY id), count(*) OVER () FROM customers ORDER BY id;

-- passes
SELECT name, count(*) FROM customers GROUP BY name ORDER BY name;
