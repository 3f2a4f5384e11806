"""What a Python program does with the store, with its own library's defaults."""
import base64, hashlib, io, os, threading, urllib.error, urllib.request
import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}))
b = "story"
s3.create_bucket(Bucket=b)
rand = os.urandom


def refused(status, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        got = error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert got == status, f"{got} instead of {status}: {error}"
        return error.response["Error"]
    raise AssertionError(f"{call.__name__} was not refused")


def conditional_writes():
    first = s3.put_object(Bucket=b, Key="lock", Body=b"1", IfNoneMatch="*")["ETag"]
    refused(412, s3.put_object, Bucket=b, Key="lock", Body=b"2", IfNoneMatch="*")
    second = s3.put_object(Bucket=b, Key="lock", Body=b"2", IfMatch=first)["ETag"]
    refused(412, s3.put_object, Bucket=b, Key="lock", Body=b"3", IfMatch=first)
    refused(404, s3.put_object, Bucket=b, Key="absent", Body=b"3", IfMatch=first)
    refused(412, s3.delete_object, Bucket=b, Key="lock", IfMatch=first)
    refused(304, s3.get_object, Bucket=b, Key="lock", IfNoneMatch=second)
    refused(412, s3.get_object, Bucket=b, Key="lock", IfMatch=first)
    # Of many that saw the same, one wins each round.
    wins = []

    def write(round, tag):
        try:
            s3.put_object(Bucket=b, Key="lock", Body=str(round).encode(), IfMatch=tag)
            wins.append(round)
        except ClientError as error:
            assert error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"), error

    for round in range(5):
        tag = s3.head_object(Bucket=b, Key="lock")["ETag"]
        writers = [threading.Thread(target=write, args=(round, tag)) for _ in range(6)]
        [one.start() for one in writers], [one.join() for one in writers]
    assert sorted(wins) == list(range(5)), wins
    s3.delete_object(Bucket=b, Key="lock", IfMatch=s3.head_object(Bucket=b, Key="lock")["ETag"])
    refused(404, s3.head_object, Bucket=b, Key="lock")


def checksums():
    body = rand(300_000)
    for kind in ("CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"):
        if kind in ("CRC32C", "CRC64NVME"):
            try:
                import awscrt  # noqa: F401
            except ImportError:
                continue
        put = s3.put_object(Bucket=b, Key=kind, Body=body, ChecksumAlgorithm=kind)
        got = s3.get_object(Bucket=b, Key=kind, ChecksumMode="ENABLED")
        assert got["Body"].read() == body and got["Checksum" + kind] == put["Checksum" + kind], kind
        told = s3.get_object_attributes(Bucket=b, Key=kind, ObjectAttributes=["Checksum", "ObjectSize"])
        assert told["Checksum"]["Checksum" + kind] == put["Checksum" + kind] and told["ObjectSize"] == len(body)
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    refused(400, s3.put_object, Bucket=b, Key="wrong", Body=body, ChecksumSHA256=wrong)
    refused(404, s3.head_object, Bucket=b, Key="wrong")


def multipart():
    parts = [rand(5 << 20), rand(5 << 20), rand(1000)]
    upload = s3.create_multipart_upload(Bucket=b, Key="big", ChecksumAlgorithm="SHA256", Metadata={"who": "boto"})
    upload = {"Bucket": b, "Key": "big", "UploadId": upload["UploadId"]}
    done = []
    for number, part in enumerate(parts, 1):
        sent = s3.upload_part(**upload, PartNumber=number, Body=part, ChecksumAlgorithm="SHA256")
        digest = base64.b64encode(hashlib.sha256(part).digest()).decode()
        assert sent["ChecksumSHA256"] == digest
        done.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": digest})
    listed = s3.list_parts(**upload, MaxParts=2)
    assert listed["IsTruncated"] and [p["Size"] for p in listed["Parts"]] == [5 << 20, 5 << 20]
    assert s3.list_multipart_uploads(Bucket=b)["Uploads"][0]["Key"] == "big"
    wrong = [dict(done[0], ChecksumSHA256=done[1]["ChecksumSHA256"])] + done[1:]
    refused(400, s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": wrong})
    s3.put_object(Bucket=b, Key="big", Body=b"before")
    refused(412, s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": done}, IfMatch='"x"')
    whole = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": done})
    joined = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
    assert whole["ChecksumSHA256"] == base64.b64encode(joined).decode() + "-3", whole
    got = s3.get_object(Bucket=b, Key="big")
    assert got["Body"].read() == b"".join(parts) and got["Metadata"] == {"who": "boto"}
    assert s3.get_object(Bucket=b, Key="big", PartNumber=2)["Body"].read() == parts[1]
    attributes = s3.get_object_attributes(Bucket=b, Key="big", ObjectAttributes=["ObjectParts"])
    assert attributes["ObjectParts"]["TotalPartsCount"] == 3
    # As the library does it by itself: threads, parts, and a copy of parts.
    data = rand(18 << 20)
    config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(data), b, "managed", Config=config, ExtraArgs={"ContentType": "x/y"})
    s3.copy({"Bucket": b, "Key": "managed"}, b, "copied", Config=config)
    out = io.BytesIO()
    s3.download_fileobj(b, "copied", out, Config=config)
    assert out.getvalue() == data
    left = s3.create_multipart_upload(Bucket=b, Key="given-up")["UploadId"]
    s3.abort_multipart_upload(Bucket=b, Key="given-up", UploadId=left)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=b)


def presigned():
    def ask(url, data=None, method="GET", headers={}):
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    for version in ("s3v4",):
        signer = boto3.client("s3", config=Config(signature_version=version, s3={"addressing_style": "path"}))
        put = signer.generate_presigned_url("put_object", {"Bucket": b, "Key": "signed ü"}, ExpiresIn=60)
        assert ask(put, b"by url", "PUT")[0] == 200
        get = signer.generate_presigned_url("get_object", {"Bucket": b, "Key": "signed ü",
            "ResponseContentType": "x/z"}, ExpiresIn=60)
        assert ask(get) == (200, b"by url")
        assert ask(get.replace("signed", "other"))[0] == 403
        assert ask(put, b"more", "PUT", {"x-amz-acl": "public-read"})[0] == 403
    form = s3.generate_presigned_post(b, "form/${filename}", Conditions=[["content-length-range", 1, 100]])
    fields = "".join(f'--x\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in form["fields"].items())
    tail = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--x--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert ask(form["url"], (fields + tail).encode(), "POST", kind)[0] == 204
    assert ask(form["url"], (fields + tail.replace("hello", "h" * 200)).encode(), "POST", kind)[0] == 400
    assert s3.get_object(Bucket=b, Key="form/a.txt")["Body"].read() == b"hello"


def paginators():
    keys = sorted([f"p/{n:03}/{m}" for n in range(30) for m in range(3)] + ["p/z ü+%", "p/😀"])
    for key in keys:
        s3.put_object(Bucket=b, Key=key, Body=b"")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=b, Prefix="p/", PaginationConfig={"PageSize": 7})
    assert [one["Key"] for page in pages for one in page["Contents"]] == keys
    pages = s3.get_paginator("list_objects").paginate(Bucket=b, Prefix="p/", PaginationConfig={"PageSize": 7})
    assert [one["Key"] for page in pages for one in page["Contents"]] == keys
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=b, Prefix="p/", Delimiter="/", PaginationConfig={"PageSize": 4})
    folders = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])]
    assert folders == [f"p/{n:03}/" for n in range(30)], folders
    gone = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": key} for key in keys]})
    assert len(gone["Deleted"]) == len(keys) and "Errors" not in gone


def versions():
    v = "versions"
    s3.create_bucket(Bucket=v)
    s3.put_bucket_versioning(Bucket=v, VersioningConfiguration={"Status": "Enabled"})
    ids = [s3.put_object(Bucket=v, Key="a", Body=str(n).encode())["VersionId"] for n in range(5)]
    marker = s3.delete_object(Bucket=v, Key="a")
    assert marker["DeleteMarker"]
    refused(404, s3.get_object, Bucket=v, Key="a")
    assert s3.get_object(Bucket=v, Key="a", VersionId=ids[1])["Body"].read() == b"1"
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=v, PaginationConfig={"PageSize": 2})
    listed = [one["VersionId"] for page in pages for one in page.get("Versions", [])]
    assert listed == ids[::-1]
    s3.delete_object(Bucket=v, Key="a", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=v, Key="a")["Body"].read() == b"4"
    s3.copy_object(Bucket=v, Key="a", CopySource={"Bucket": v, "Key": "a", "VersionId": ids[0]})
    assert s3.get_object(Bucket=v, Key="a")["Body"].read() == b"0"
    refused(409, s3.delete_bucket, Bucket=v)
    bucket = boto3.resource("s3", config=Config(s3={"addressing_style": "path"})).Bucket(v)
    bucket.object_versions.delete()
    s3.delete_bucket(Bucket=v)


def customers_key():
    key, other, body = rand(32), rand(32), rand(3 << 20)
    ours = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
    s3.put_object(Bucket=b, Key="secret", Body=body, **ours)
    refused(400, s3.get_object, Bucket=b, Key="secret")
    refused(400, s3.get_object, Bucket=b, Key="secret", SSECustomerAlgorithm="AES256", SSECustomerKey=other)
    got = s3.get_object(Bucket=b, Key="secret", Range="bytes=1048570-1048590", **ours)
    assert got["Body"].read() == body[1048570:1048591] and got["ContentRange"].endswith(f"/{len(body)}")
    s3.copy_object(Bucket=b, Key="open", CopySource={"Bucket": b, "Key": "secret"},
                   CopySourceSSECustomerAlgorithm="AES256", CopySourceSSECustomerKey=key, ServerSideEncryption="AES256")
    got = s3.get_object(Bucket=b, Key="open")
    assert got["Body"].read() == body and got["ServerSideEncryption"] == "AES256"
    config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    data = rand(11 << 20)
    s3.upload_fileobj(io.BytesIO(data), b, "secret-parts", Config=config, ExtraArgs=ours)
    out = io.BytesIO()
    s3.download_fileobj(b, "secret-parts", out, Config=config, ExtraArgs=ours)
    assert out.getvalue() == data


def temporary_key():
    sts = boto3.client("sts", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::story/open"}]}'
    lent = sts.assume_role(RoleArn="arn:aws:iam::000000000000:role/any", RoleSessionName="py", Policy=policy)["Credentials"]
    less = boto3.client("s3", aws_access_key_id=lent["AccessKeyId"], aws_secret_access_key=lent["SecretAccessKey"],
                        aws_session_token=lent["SessionToken"], config=Config(s3={"addressing_style": "path"}))
    assert len(less.get_object(Bucket=b, Key="open")["Body"].read()) == 3 << 20
    refused(403, less.put_object, Bucket=b, Key="open", Body=b"")
    refused(403, less.get_object, Bucket=b, Key="copied")
    refused(403, less.list_objects_v2, Bucket=b)


for chapter in (conditional_writes, checksums, multipart, presigned, paginators, versions, customers_key, temporary_key):
    chapter()
    print(chapter.__name__)
