"""Parquet through three engines: DuckDB, PyArrow and Polars each write, and all read what the others wrote."""
import glob
import os

import pytest

ROWS = 200_000


def expected_sum():
    return ROWS * (ROWS - 1) // 2


@pytest.fixture
def duck(nodes):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed on this machine")

    bundled = pytest.importorskip("duckdb_extension_httpfs", reason="duckdb's httpfs is not installed on this machine")
    [extension] = glob.glob(os.path.join(os.path.dirname(bundled.__file__), "**", "*.duckdb_extension"), recursive=True)

    def connect():
        connection = duckdb.connect()
        connection.execute(f"LOAD '{extension}'")
        connection.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID '{nodes.access}', SECRET '{nodes.secret}', REGION '{nodes.region}', "
            f"ENDPOINT '{nodes.next().removeprefix('http://')}', URL_STYLE 'path', USE_SSL false)")
        return connection

    return connect


@pytest.fixture
def arrow(nodes):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed on this machine")
    from pyarrow import fs

    def filesystem():
        return fs.S3FileSystem(access_key=nodes.access, secret_key=nodes.secret, region=nodes.region,
                               endpoint_override=nodes.next().removeprefix("http://"), scheme="http")

    return filesystem


@pytest.fixture
def table():
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed on this machine")
    return pa.table({"number": range(ROWS), "name": [f"name {n % 97}" for n in range(ROWS)],
                     "part": [f"p{n % 3}" for n in range(ROWS)]})


def test_duckdb(duck, bucket):
    duck().execute(f"COPY (SELECT range AS number, 'p' || range % 3 AS part FROM range({ROWS})) "
                   f"TO 's3://{bucket}/t.parquet' (FORMAT parquet, ROW_GROUP_SIZE 20000)")
    count, total = duck().sql(f"SELECT count(*), sum(number) FROM 's3://{bucket}/t.parquet'").fetchone()
    assert (count, total) == (ROWS, expected_sum())
    # Only the row groups that matter are read: ranges.
    assert duck().sql(f"SELECT part FROM 's3://{bucket}/t.parquet' WHERE number = 150000").fetchall() == [("p0",)]
    duck().execute(f"COPY (FROM 's3://{bucket}/t.parquet') TO 's3://{bucket}/by' (FORMAT parquet, PARTITION_BY part)")
    rows = duck().sql(f"SELECT part, count(*) FROM read_parquet('s3://{bucket}/by/**/*.parquet') GROUP BY 1 "
                      "ORDER BY 1").fetchall()
    assert rows == [("p0", 66667), ("p1", 66667), ("p2", 66666)]


def test_pyarrow(arrow, bucket, table):
    import pyarrow.compute as pc
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    pq.write_table(table, f"{bucket}/one/t.parquet", filesystem=arrow(), row_group_size=20_000)
    back = pq.read_table(f"{bucket}/one/t.parquet", filesystem=arrow())
    assert back.equals(table)
    ds.write_dataset(table, f"{bucket}/set", filesystem=arrow(), format="parquet",
                     partitioning=ds.partitioning(table.select(["part"]).schema, flavor="hive"))
    found = ds.dataset(f"{bucket}/set", filesystem=arrow(), format="parquet", partitioning="hive")
    assert found.count_rows() == ROWS
    assert found.to_table(filter=ds.field("number") == 150_000)["part"].to_pylist() == ["p0"]
    assert pc.sum(found.to_table(columns=["number"])["number"]).as_py() == expected_sum()


def test_pyarrow_directories(arrow, bucket):
    """Its directories are empty objects that end in a slash; `a` and `a/b` live side by side."""
    from pyarrow import fs

    arrow().create_dir(f"{bucket}/dir/sub", recursive=True)
    assert arrow().get_file_info(f"{bucket}/dir/sub").type == fs.FileType.Directory
    for name, data in (("a", b"1"), ("a/b", b"2")):
        with arrow().open_output_stream(f"{bucket}/{name}") as out:
            out.write(data)
    assert arrow().open_input_file(f"{bucket}/a").read() == b"1"
    assert arrow().open_input_file(f"{bucket}/a/b").read() == b"2"
    with arrow().open_output_stream(f"{bucket}/dir/large") as out:
        for _ in range(30):
            out.write(bytes(1 << 20))
    info = arrow().get_file_info(f"{bucket}/dir/large")
    assert (info.type, info.size) == (fs.FileType.File, 30 << 20)
    arrow().copy_file(f"{bucket}/dir/large", f"{bucket}/dir/copy")
    arrow().move(f"{bucket}/dir/copy", f"{bucket}/dir/moved")
    found = arrow().get_file_info(fs.FileSelector(f"{bucket}/dir"))
    assert sorted(info.base_name for info in found) == ["large", "moved", "sub"]
    arrow().delete_dir(f"{bucket}/dir")
    assert arrow().get_file_info(f"{bucket}/dir").type == fs.FileType.NotFound


def test_polars(nodes, bucket, table):
    pl = pytest.importorskip("polars", reason="polars is not installed on this machine")
    frame = pl.from_arrow(table)
    frame.write_parquet(f"s3://{bucket}/p/one.parquet", storage_options=nodes.storage_options())
    assert pl.read_parquet(f"s3://{bucket}/p/one.parquet", storage_options=nodes.storage_options()).equals(frame)
    frame.lazy().sink_parquet(f"s3://{bucket}/p/two.parquet", storage_options=nodes.storage_options())
    found = pl.scan_parquet(f"s3://{bucket}/p/*.parquet", storage_options=nodes.storage_options())
    assert found.select(pl.len()).collect().item() == 2 * ROWS
    assert found.filter(pl.col("number") == 150_000).select("part").collect()["part"].to_list() == ["p0", "p0"]


def test_each_reads_the_others(duck, arrow, nodes, bucket, table):
    import pyarrow.parquet as pq
    pl = pytest.importorskip("polars", reason="polars is not installed on this machine")

    pq.write_table(table, f"{bucket}/x/arrow.parquet", filesystem=arrow())
    pl.from_arrow(table).write_parquet(f"s3://{bucket}/x/polars.parquet", storage_options=nodes.storage_options())
    duck().execute(f"COPY (FROM 's3://{bucket}/x/arrow.parquet') TO 's3://{bucket}/x/duckdb.parquet' (FORMAT parquet)")
    assert duck().sql(f"SELECT sum(number) FROM 's3://{bucket}/x/*.parquet'").fetchone() == (3 * expected_sum(),)
    for name in ("arrow", "polars", "duckdb"):
        read = pl.read_parquet(f"s3://{bucket}/x/{name}.parquet", storage_options=nodes.storage_options())
        assert read["number"].sum() == expected_sum()
        assert pq.read_table(f"{bucket}/x/{name}.parquet", filesystem=arrow()).num_rows == ROWS
