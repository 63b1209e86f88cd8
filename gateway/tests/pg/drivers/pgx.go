// The workload in pgx: cached statements with binary results, simple ones, a batch, COPY, an error, a refusal; or the
// variable STATEMENTS, one on each line.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
)

var ctx = context.Background()

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func code(err error) string {
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		return failure.Code
	}
	return fmt.Sprint(err)
}

func print(rows pgx.Rows, err error) {
	if err == nil {
		for rows.Next() {
			values, failure := rows.Values()
			check(failure)
			for index, column := range rows.FieldDescriptions() {
				fmt.Printf("%s %d %T %v | ", column.Name, column.DataTypeOID, values[index], values[index])
			}
			fmt.Println()
		}
		err = rows.Err()
		rows.Close()
	}
	if err != nil {
		fmt.Println("error", code(err))
		var failure *pgconn.PgError
		if errors.As(err, &failure) {
			fmt.Fprintln(os.Stderr, failure.Message, failure.Detail)
		}
	}
}

// Each statement runs ten times from the cache, by the simple protocol, and three times in one pipeline.
func labelled(connection *pgx.Conn, statements []string) {
	for _, text := range statements {
		if strings.HasPrefix(text, "COPY") {
			var out bytes.Buffer
			_, err := connection.PgConn().CopyTo(ctx, &out, text)
			check(err)
			fmt.Println(out.String())
			continue
		}
		for round := 0; round < 10; round++ {
			print(connection.Query(ctx, text, round%3+1))
		}
		print(connection.Query(ctx, text, pgx.QuerySimpleProtocol(true), 1))
		batch := &pgx.Batch{}
		for id := 1; id <= 3; id++ {
			batch.Queue(text, id)
		}
		results := connection.SendBatch(ctx, batch)
		for id := 1; id <= 3; id++ {
			print(results.Query())
		}
		results.Close()
	}
}

func main() {
	connection, err := pgx.Connect(ctx, "sslmode=disable")
	check(err)
	if statements := os.Getenv("STATEMENTS"); statements != "" {
		labelled(connection, strings.Split(statements, "\n"))
		return
	}
	one := func(text string, to interface{}, values ...interface{}) error {
		return connection.QueryRow(ctx, text, values...).Scan(to)
	}
	var count int
	var item, text string
	check(one("SELECT count(*) FROM orders", &count))
	fmt.Println("count", count)
	for id := 1; id <= 20; id++ {
		check(one("SELECT item FROM orders WHERE id = $1", &item, id))
	}
	fmt.Println("item", item)
	print(connection.Query(ctx, "SELECT $1::int4, 2.5::float8, 'é', true, NULL, '\\x00ff'::bytea, ARRAY[1, 2, 3], 1.10::numeric", 4))
	tx, err := connection.Begin(ctx)
	check(err)
	_, err = tx.Exec(ctx, "INSERT INTO orders VALUES ($1, $2)", 5001, "rolled back")
	check(err)
	check(one("SELECT count(*) FROM orders", &count))
	fmt.Println("inside", count)
	check(tx.Rollback(ctx))
	check(one("SELECT count(*) FROM orders", &count))
	fmt.Println("after", count)
	fmt.Println("error", code(one("SELECT 1/$1::int", &count, 0)))
	batch := &pgx.Batch{}
	for number := 0; number < 50; number++ {
		batch.Queue("SELECT $1::int * 2", number)
	}
	results, total := connection.SendBatch(ctx, batch), 0
	for number := 0; number < 50; number++ {
		check(results.QueryRow().Scan(&count))
		total += count
	}
	check(results.Close())
	fmt.Println("pipeline", total)
	_, err = connection.Exec(ctx, "CREATE TEMP TABLE copied (a int, b text)")
	check(err)
	var rows [][]interface{}
	for id := 0; id < 100; id++ {
		rows = append(rows, []interface{}{id, fmt.Sprint("row ", id)})
	}
	copied, err := connection.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"a", "b"}, pgx.CopyFromRows(rows))
	check(err)
	var out bytes.Buffer
	_, err = connection.PgConn().CopyTo(ctx, &out, "COPY copied TO STDOUT")
	check(err)
	fmt.Println("copied", copied, out.Len())
	_, err = connection.Exec(ctx, os.Getenv("REFUSED"))
	fmt.Println("refused", code(err))
	_, err = connection.Prepare(ctx, "refused", os.Getenv("REFUSED"))
	if err == nil {
		_, err = connection.Exec(ctx, "refused")
	}
	fmt.Println("refused", code(err))
	check(one("SELECT $1::text", &text, "usable"))
	fmt.Println("usable", text)
}
