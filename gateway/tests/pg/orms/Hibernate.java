// Rows read and saved by Hibernate, which writes all columns of a row unless its mapping says `dynamic-update`.
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.sql.SQLException;
import java.util.HashMap;
import java.util.Map;
import org.hibernate.HibernateException;
import org.hibernate.JDBCException;
import org.hibernate.Session;
import org.hibernate.SessionFactory;
import org.hibernate.Transaction;
import org.hibernate.cfg.Configuration;

public class Hibernate {
    interface Work {
        void in(Session session);
    }

    static String entity(String name, String table, String text, String options) {
        return "<class entity-name='" + name + "' table='" + table + "' " + options + "><id name='id' type='int'/><property name='" + text
            + "' type='string'/>" + (table.equals("people") ? "<property name='ssn' type='string'/>" : "")
            + "<property name='salary' type='int'/></class>";
    }

    static SessionFactory factory() {
        String mapping = "<?xml version='1.0'?><!DOCTYPE hibernate-mapping PUBLIC '-//Hibernate/Hibernate Mapping DTD 3.0//EN' "
            + "'http://www.hibernate.org/dtd/hibernate-mapping-3.0.dtd'><hibernate-mapping>"
            + entity("Changed", "people", "name", "dynamic-update='true'") + entity("Person", "people", "name", "")
            + entity("Pay", "pays", "note", "") + "</hibernate-mapping>";
        Map<String, String> environment = System.getenv();
        return new Configuration()
            .addInputStream(new ByteArrayInputStream(mapping.getBytes(StandardCharsets.UTF_8)))
            .setProperty("hibernate.dialect", "org.hibernate.dialect.PostgreSQLDialect")
            .setProperty("hibernate.connection.driver_class", "org.postgresql.Driver")
            .setProperty("hibernate.connection.url",
                "jdbc:postgresql://" + environment.get("PGHOST") + "/" + environment.get("PGDATABASE"))
            .setProperty("hibernate.connection.username", environment.get("PGUSER"))
            .setProperty("hibernate.temp.use_jdbc_metadata_defaults", "false")
            .buildSessionFactory();
    }

    static void attempt(SessionFactory factory, String what, Work work) {
        Session session = factory.openSession();
        Transaction transaction = session.beginTransaction();
        try {
            work.in(session);
            transaction.commit();
            System.out.println(what + " saved");
        } catch (JDBCException error) {
            SQLException cause = error.getSQLException();
            SQLException last = cause.getNextException() == null ? cause : cause.getNextException();
            System.out.println(what + " " + last.getSQLState() + " " + last.getMessage().lines().findFirst().orElse(""));
            transaction.rollback();
        } finally {
            session.close();
        }
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> row(Session session, String entity) {
        return (Map<String, Object>) session.get(entity, 1);
    }

    public static void main(String[] arguments) {
        SessionFactory factory = factory();
        attempt(factory, "changed", session -> {
            Map<String, Object> person = row(session, "Changed");
            System.out.println("read " + person.get("ssn") + " " + person.get("salary"));
            person.put("name", "changed by hibernate");
        });
        attempt(factory, "whole", session -> row(session, "Person").put("name", "whole"));
        attempt(factory, "numbers", session -> row(session, "Pay").put("note", "whole"));
        attempt(factory, "copied", session -> {
            Map<String, Object> copy = new HashMap<>(row(session, "Person"));
            copy.put("id", 2);
            session.save("Person", copy);
        });
        attempt(factory, "in_bulk", session -> {
            Map<String, Object> person = new HashMap<>(row(session, "Person"));
            session.clear();
            session.update("Person", person);
        });
        factory.close();
    }
}
