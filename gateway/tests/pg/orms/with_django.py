"""Rows read and saved by Django, whose save() writes all columns unless it is told which."""
import os

import django
from django.conf import settings
from django.db import DatabaseError, models

settings.configure(DATABASES={"default": {
    "ENGINE": "django.db.backends.postgresql", "HOST": os.environ["PGHOST"], "NAME": os.environ["PGDATABASE"],
    "USER": os.environ["PGUSER"],
}})
django.setup()


class Person(models.Model):
    id = models.IntegerField(primary_key=True)
    name = models.TextField()
    ssn = models.TextField()
    salary = models.IntegerField()

    class Meta:
        app_label, db_table, managed = "shop", "people", False


class Pay(models.Model):
    id = models.IntegerField(primary_key=True)
    note = models.TextField()
    salary = models.IntegerField()

    class Meta:
        app_label, db_table, managed = "shop", "pays", False


def attempt(what, work):
    try:
        work()
        print(what, "saved")
    except DatabaseError as error:
        print(what, error.__cause__.sqlstate, error.__cause__.diag.message_primary)


def changed():
    person = Person.objects.get(pk=1)
    print("read", person.ssn, person.salary)
    person.name = "changed by django"
    person.save(update_fields=["name"])


def whole():
    person = Person.objects.get(pk=1)
    person.name = "whole"
    person.save()


def numbers():
    pay = Pay.objects.get(pk=1)
    pay.note = "whole"
    pay.save()


def copied():
    person = Person.objects.get(pk=1)
    person.pk = 2
    person.save(force_insert=True)


def in_bulk():
    people = list(Person.objects.all())
    Person.objects.bulk_update(people, ["name", "ssn", "salary"])


for work in (changed, whole, numbers, copied, in_bulk):
    attempt(work.__name__, work)
