// The workload in JDBC: simple and server-prepared statements, binary results, batches, cursors, COPY, an error, a refusal;
// or the variable STATEMENTS, one on each line.
import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class Jdbc {
    static Connection connection;

    static String one(String text) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(text)) {
            rows.next();
            return rows.getString(1);
        }
    }

    static void refused(boolean prepared) throws SQLException {
        String text = System.getenv("REFUSED");
        try {
            if (prepared) {
                connection.prepareStatement(text).execute();
            } else {
                connection.createStatement().execute(text);
            }
            System.out.println("refused not at all");
        } catch (SQLException error) {
            System.out.println("refused " + error.getSQLState());
        }
    }

    /** Prints rows: the first ones come as text, those after the threshold in binary. */
    static void print(Statement statement, String text) throws SQLException {
        try {
            boolean has = text == null ? ((PreparedStatement) statement).execute() : statement.execute(text);
            ResultSet rows = statement.getResultSet();
            while (has && rows.next()) {
                StringBuilder line = new StringBuilder();
                ResultSetMetaData columns = rows.getMetaData();
                for (int column = 1; column <= columns.getColumnCount(); column++) {
                    Object value = rows.getObject(column);
                    String shown = value instanceof byte[] ? new java.math.BigInteger(1, (byte[]) value).toString(16) : String.valueOf(value);
                    line.append(columns.getColumnLabel(column) + " " + columns.getColumnTypeName(column) + " " + shown + " | ");
                }
                System.out.println(line);
            }
        } catch (SQLException error) {
            System.out.println("error " + error.getSQLState());
            System.err.println(error.getMessage());
        }
    }

    static void labelled(String[] texts) throws Exception {
        CopyManager copies = connection.unwrap(PGConnection.class).getCopyAPI();
        for (String text : texts) {
            if (text.startsWith("COPY")) {
                StringWriter out = new StringWriter();
                copies.copyOut(text, out);
                System.out.println(out);
                continue;
            }
            try (PreparedStatement prepared = connection.prepareStatement(text.replace("$1", "?"))) {
                for (int round = 0; round < 10; round++) {
                    prepared.setInt(1, round % 3 + 1);
                    print(prepared, null);
                }
            }
            try (Statement statement = connection.createStatement()) {
                print(statement, text.replace("$1", "1"));
            }
            // With these two the driver reads by a portal, two rows at a time.
            connection.setAutoCommit(false);
            try (PreparedStatement prepared = connection.prepareStatement(text.replace("$1", "?"))) {
                prepared.setFetchSize(2);
                prepared.setInt(1, 1);
                print(prepared, null);
            }
            connection.rollback();
            connection.setAutoCommit(true);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.setProperty("user", System.getenv("PGUSER"));
        settings.setProperty("prepareThreshold", "3");
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + "/" + System.getenv("PGDATABASE");
        connection = DriverManager.getConnection(url, settings);
        if (System.getenv("STATEMENTS") != null) {
            labelled(System.getenv("STATEMENTS").split("\n"));
            return;
        }
        System.out.println("count " + one("SELECT count(*) FROM orders"));
        String item = null;
        try (PreparedStatement statement = connection.prepareStatement("SELECT item, id FROM orders WHERE id = ?")) {
            for (int number = 1; number <= 20; number++) {
                statement.setInt(1, number);
                ResultSet rows = statement.executeQuery();
                rows.next();
                item = rows.getString(1) + rows.getInt(2);
            }
        }
        System.out.println("item " + item);
        try (PreparedStatement statement = connection.prepareStatement(
                "SELECT ?::int4, 2.5::float8, 'é', true, NULL, '\\x00ff'::bytea, '2020-01-02'::date, ARRAY[1, 2, 3], 1.10::numeric")) {
            for (int round = 0; round < 6; round++) {
                statement.setInt(1, round);
                ResultSet rows = statement.executeQuery();
                rows.next();
                System.out.println("types " + rows.getInt(1) + rows.getDouble(2) + rows.getString(3) + rows.getBoolean(4)
                    + rows.getString(5) + rows.getBytes(6).length + rows.getDate(7) + rows.getArray(8) + rows.getBigDecimal(9));
            }
        }
        connection.setAutoCommit(false);
        connection.createStatement().executeUpdate("INSERT INTO orders VALUES (5001, 'rolled back')");
        System.out.println("inside " + one("SELECT count(*) FROM orders"));
        connection.rollback();
        System.out.println("after " + one("SELECT count(*) FROM orders"));
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(7);
            ResultSet rows = statement.executeQuery("SELECT id FROM orders WHERE id <= 50");
            int total = 0;
            while (rows.next()) {
                total += rows.getInt(1);
            }
            System.out.println("cursor " + total);
        }
        connection.commit();
        connection.setAutoCommit(true);
        try {
            one("SELECT 1/0");
        } catch (SQLException error) {
            System.out.println("error " + error.getSQLState());
        }
        connection.createStatement().execute("CREATE TEMP TABLE copied (a int, b text)");
        CopyManager copies = connection.unwrap(PGConnection.class).getCopyAPI();
        System.out.println("copied " + copies.copyIn("COPY copied FROM STDIN", new StringReader("1\tone\n2\ttwo\n")));
        StringWriter out = new StringWriter();
        copies.copyOut("COPY copied TO STDOUT", out);
        System.out.println("copied " + out.toString().length());
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO copied VALUES (?, ?)")) {
            for (int number = 0; number < 200; number++) {
                statement.setInt(1, number);
                statement.setString(2, "row " + number);
                statement.addBatch();
            }
            System.out.println("batch " + statement.executeBatch().length);
        }
        refused(false);
        refused(true);
        System.out.println("usable " + one("SELECT 'usable'"));
        connection.close();
    }
}
