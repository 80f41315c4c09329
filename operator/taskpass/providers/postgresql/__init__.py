"""The provider PostgreSQL: a login role in group roles for each grant.

Nothing is imported here: `settings` needs no psycopg, all else does (the extra `postgresql`).
"""
