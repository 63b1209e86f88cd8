-- A small shop, as the agent's login owns it. No row is anybody's: names are made up, card numbers are test numbers.
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text NOT NULL, city text NOT NULL);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, item text NOT NULL, price numeric(8, 2) NOT NULL);
CREATE TABLE payments (id int PRIMARY KEY, order_id int NOT NULL REFERENCES orders, card text NOT NULL, amount numeric(8, 2) NOT NULL, note text);

INSERT INTO customers
SELECT n, first[1 + n % 8] || ' ' || last[1 + n % 7],
       lower(first[1 + n % 8] || '.' || last[1 + n % 7]) || n || '@example.com', city[1 + n % 5]
FROM generate_series(1, 24) n,
     (VALUES (ARRAY ['Ada', 'Bela', 'Chloe', 'Dario', 'Esra', 'Finn', 'Greta', 'Hugo'],
              ARRAY ['Arnold', 'Brandt', 'Costa', 'Dubois', 'Eriksen', 'Fischer', 'Garcia'],
              ARRAY ['Bremen', 'Ghent', 'Lyon', 'Porto', 'Turku'])) names (first, last, city);

INSERT INTO orders
SELECT n, 1 + n * 5 % 24, item[1 + n % 6], 9.90 + n * 13 % 90
FROM generate_series(1, 40) n, (VALUES (ARRAY ['kettle', 'lamp', 'chair', 'rucksack', 'bicycle bell', 'teapot'])) goods (item);

INSERT INTO payments
SELECT o.id, o.id, card[1 + o.id % 5], o.price,
       CASE WHEN o.id % 4 = 3 THEN 'new card: ' || card[1 + (o.id + 1) % 5] END
FROM orders o,
     (VALUES (ARRAY ['4111 1111 1111 1111', '5555 5555 5555 4444', '4012 8888 8888 1881', '5105 1051 0510 5100',
                     '4222 2222 2222 2220'])) cards (card);
