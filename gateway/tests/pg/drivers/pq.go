// The workload in lib/pq: parameters, prepared statements, binary parameters, COPY, an error, a refusal.
package main

import (
	"database/sql"
	"fmt"
	"os"
	"strings"

	"github.com/lib/pq"
)

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func code(err error) string {
	if failure, ok := err.(*pq.Error); ok {
		return string(failure.Code)
	}
	return fmt.Sprint(err)
}

func work(settings string) {
	db, err := sql.Open("postgres", settings)
	check(err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	var count, number int
	var item string
	check(db.QueryRow("SELECT count(*) FROM orders").Scan(&count))
	fmt.Println("count", count)
	statement, err := db.Prepare("SELECT item FROM orders WHERE id = $1")
	check(err)
	for id := 1; id <= 20; id++ {
		check(statement.QueryRow(id).Scan(&item))
	}
	check(statement.Close())
	fmt.Println("item", item)
	var text string
	var float float64
	var flag bool
	var none sql.NullString
	var bytes []byte
	var array []int64
	row := db.QueryRow("SELECT $1::int4, 2.5::float8, 'é', true, NULL, '\\x00ff'::bytea, ARRAY[1, 2, 3]", 4)
	check(row.Scan(&number, &float, &text, &flag, &none, &bytes, pq.Array(&array)))
	fmt.Println("types", number, float, text, flag, none, bytes, array)
	tx, err := db.Begin()
	check(err)
	_, err = tx.Exec("INSERT INTO orders VALUES ($1, $2)", 5001, "rolled back")
	check(err)
	check(tx.QueryRow("SELECT count(*) FROM orders").Scan(&count))
	fmt.Println("inside", count)
	check(tx.Rollback())
	check(db.QueryRow("SELECT count(*) FROM orders").Scan(&count))
	fmt.Println("after", count)
	fmt.Println("error", code(db.QueryRow("SELECT 1/$1::int", 0).Scan(&number)))
	_, err = db.Exec("CREATE TEMP TABLE copied (a int, b text)")
	check(err)
	tx, err = db.Begin()
	check(err)
	statement, err = tx.Prepare(pq.CopyIn("copied", "a", "b"))
	check(err)
	for id := 0; id < 100; id++ {
		_, err = statement.Exec(id, fmt.Sprint("row ", id))
		check(err)
	}
	_, err = statement.Exec()
	check(err)
	check(statement.Close())
	check(tx.Commit())
	check(db.QueryRow("SELECT count(*) FROM copied").Scan(&count))
	fmt.Println("copied", count)
	_, err = db.Exec(os.Getenv("REFUSED"))
	fmt.Println("refused", code(err))
	statement, err = db.Prepare(os.Getenv("REFUSED"))
	if err == nil {
		_, err = statement.Exec()
	}
	fmt.Println("refused", code(err))
	check(db.QueryRow("SELECT $1::text", "usable").Scan(&text))
	fmt.Println("usable", text)
}

// Each statement is run with parameters, prepared, and with its parameter written out. COPY … TO is not in this driver.
func labelled(settings string, statements []string) {
	db, err := sql.Open("postgres", settings)
	check(err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, text := range statements {
		if strings.HasPrefix(text, "COPY") {
			continue
		}
		prepared, failure := db.Prepare(text)
		for round := 0; round < 10; round++ {
			id := round%3 + 1
			print(db.Query(text, id))
			if failure == nil {
				print(prepared.Query(id))
			} else {
				print(nil, failure)
			}
			print(db.Query(strings.Replace(text, "$1", fmt.Sprint(id), 1)))
		}
		if failure == nil {
			check(prepared.Close())
		}
	}
}

func print(rows *sql.Rows, err error) {
	for err == nil && rows.Next() {
		var types []*sql.ColumnType
		types, err = rows.ColumnTypes()
		check(err)
		cells := make([]interface{}, len(types))
		for index := range cells {
			cells[index] = new(interface{})
		}
		check(rows.Scan(cells...))
		for index, cell := range cells {
			value := *cell.(*interface{})
			if bytes, ok := value.([]byte); ok {
				value = string(bytes)
			}
			fmt.Printf("%s %s %T %v | ", types[index].Name(), types[index].DatabaseTypeName(), value, value)
		}
		fmt.Println()
	}
	if err == nil {
		err = rows.Err()
		check(rows.Close())
	}
	if err != nil {
		fmt.Println("error", code(err))
		if failure, ok := err.(*pq.Error); ok {
			fmt.Fprintln(os.Stderr, failure.Message, failure.Detail)
		}
	}
}

func main() {
	if statements := os.Getenv("STATEMENTS"); statements != "" {
		labelled("sslmode=disable", strings.Split(statements, "\n"))
		labelled("sslmode=disable binary_parameters=yes", strings.Split(statements, "\n"))
		return
	}
	work("sslmode=disable")
	work("sslmode=disable binary_parameters=yes")
}
