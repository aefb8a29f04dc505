"""Fixtures of the tests of the database; the cluster is the one in tests/conftest.py."""
import pytest

from support.database import Database


@pytest.fixture(scope="session")
def shared_database(cluster):
    name = cluster.database()
    yield name
    cluster.drop_database(name)


@pytest.fixture
def db(cluster, shared_database):
    """A superuser's session in a database with the schema and no rows; for tests that leave the schema as it is."""
    database = Database(cluster, shared_database)
    yield database
    database.close_others()
    database.clean()
    database.close()


@pytest.fixture
def own_db(cluster):
    """The same in a database of the test's own, for those that change the schema."""
    name = cluster.database()
    database = Database(cluster, name)
    yield database
    database.close_others()
    database.close()
    cluster.drop_database(name)
