"""Rows read and saved by SQLAlchemy: what changed, all columns, and a copy of a row."""
from sqlalchemy import create_engine, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.attributes import flag_modified


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "people"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    ssn: Mapped[str]
    salary: Mapped[int]


class Pay(Base):
    __tablename__ = "pays"
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str]
    salary: Mapped[int]


engine = create_engine("postgresql+psycopg://")


def attempt(what, work):
    with Session(engine) as session:
        try:
            work(session)
            session.commit()
            print(what, "saved")
        except DBAPIError as error:
            print(what, error.orig.sqlstate, error.orig.diag.message_primary)


def all_of(row):
    for column in row.__table__.columns:
        if not column.primary_key:
            flag_modified(row, column.name)


def changed(session):
    person = session.get(Person, 1)
    print("read", person.ssn, person.salary)
    person.name = "changed by sqlalchemy"


def whole(session):
    person = session.get(Person, 1)
    person.name = "whole"
    all_of(person)


def numbers(session):
    pay = session.get(Pay, 1)
    pay.note = "whole"
    all_of(pay)


def copied(session):
    person = session.get(Person, 1)
    session.add(Person(id=2, name=person.name, ssn=person.ssn, salary=person.salary))


def in_bulk(session):
    person = session.get(Person, 1)
    session.execute(update(Person).where(Person.id == 1).values(name="bulk", ssn=person.ssn, salary=person.salary))


for work in (changed, whole, numbers, copied, in_bulk):
    attempt(work.__name__, work)
