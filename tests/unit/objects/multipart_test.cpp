#include "tests/unit/objects/fixture.h"
#include "tests/unit/test.h"

using namespace covey;

namespace {

struct UploadFixture : ObjectsFixture {
  UploadId start(std::string key) {
    CreateUploadRequest request;
    request.bucket = "b";
    request.key = std::move(key);
    return loop.run(store->create_upload(std::move(request), later())).value().id;
  }
  Result<PartInfo> part(UploadId id, uint32_t number, std::string bytes, std::string etag) {
    UploadPartRequest request{"b", "k", id, number};
    TextBody body(std::move(bytes), std::move(etag));
    return loop.run(store->upload_part(request, body, later()));
  }
  Result<ObjectInfo> complete(UploadId id, std::vector<CompletePart> parts,
                              Conditions conditions = {}) {
    CompleteRequest request;
    request.bucket = "b";
    request.key = "k";
    request.upload = id;
    request.parts = std::move(parts);
    request.conditions = std::move(conditions);
    return loop.run(store->complete_upload(request, later()));
  }
};

CompletePart named(uint32_t number, std::string etag) {
  CompletePart part;
  part.number = number;
  part.etag = std::move(etag);
  return part;
}

constexpr size_t kPart = 5 << 20;
const std::string kA(32, 'a'), kB(32, 'b');

}  // namespace

TEST_CASE_FIXTURE(UploadFixture,
                  "parts become one object, and the same Complete gets the same answer") {
  UploadId id = start("k");
  std::string first = sample(kPart + 5), second = sample(100);
  REQUIRE(part(id, 7, second, kB).has_value());
  REQUIRE(part(id, 2, first, kA).has_value());
  auto info = complete(id, {named(2, kA), named(7, kB)});
  REQUIRE(info.has_value());
  EXPECT(info->etag.substr(32) == "-2");
  EXPECT(info->size == kPart + 105);
  EXPECT(get("k").value() == first + second);
  RangeSpec across;
  across.first = kPart, across.last = kPart + 9;
  EXPECT(get("k", across).value() == (first + second).substr(kPart, 10));
  GetRequest by_part;
  by_part.bucket = "b", by_part.key = "k", by_part.part_number = 2;
  EXPECT(loop.run(store->head(by_part, later())).value().length == 100);
  auto again = complete(id, {named(2, kA), named(7, kB)});
  REQUIRE(again.has_value());
  EXPECT(again->version == info->version);
  EXPECT(part(id, 1, "x", kA).is(ErrorCode::kNoSuchUpload));
}

TEST_CASE_FIXTURE(UploadFixture, "a Complete that is wrong leaves the upload open") {
  UploadId id = start("k");
  REQUIRE(part(id, 1, "small", kA).has_value());
  REQUIRE(part(id, 2, "last", kB).has_value());
  EXPECT(complete(id, {named(2, kB), named(1, kA)}).is(ErrorCode::kInvalidPartOrder));
  EXPECT(complete(id, {named(1, kB)}).is(ErrorCode::kInvalidPart));
  EXPECT(complete(id, {named(3, kA)}).is(ErrorCode::kInvalidPart));
  EXPECT(complete(id, {named(1, kA), named(2, kB)}).is(ErrorCode::kEntityTooSmall));
  REQUIRE(put("k", "there").has_value());
  Conditions create;
  create.if_none_match = {"*"};
  EXPECT(complete(id, {named(2, kB)}, create).is(ErrorCode::kPreconditionFailed));
  EXPECT(complete(id, {named(2, kB)}).has_value());
  EXPECT(get("k").value() == "last");
}

TEST_CASE_FIXTURE(UploadFixture, "uploads are listed by key until they end") {
  UploadId first = start("k"), second = start("k");
  start("other/x");
  ListUploadsRequest request;
  request.bucket = "b";
  ListUploadsResult all = loop.run(store->uploads(request, later())).value();
  EXPECT(all.uploads.size() == 3);
  request.limit = 1;
  std::vector<std::string> seen;
  for (int pages = 0; pages < 5; ++pages) {
    ListUploadsResult page = loop.run(store->uploads(request, later())).value();
    for (const auto& upload : page.uploads) seen.push_back(upload.id.hex());
    if (!page.truncated) break;
    request.key_marker = page.next_key;
    request.upload_marker = page.next_upload;
  }
  EXPECT(seen.size() == 3);
  EXPECT(loop.run(store->abort_upload("b", "k", first, later())).has_value());
  EXPECT(loop.run(store->abort_upload("b", "k", first, later())).is(ErrorCode::kNoSuchUpload));
  EXPECT(loop.run(store->abort_upload("b", "k", second, later())).has_value());
  request = ListUploadsRequest();
  request.bucket = "b";
  EXPECT(loop.run(store->uploads(request, later())).value().uploads.size() == 1);
}

// finish_complete() may take a head for one that a blind write hid only if it can tell a blind
// write from one that looked at what stood there (cluster_sim, seed 665 once).
TEST_CASE_FIXTURE(UploadFixture, "a head written under a condition says so and what it replaced") {
  auto row_of = [this](const Conditions& conditions, const std::optional<std::string>& current) {
    rows::HeadMutation want;
    want.set_kind(rows::HeadMutation::PUT);
    want.set_row(rows::HeadRow().SerializeAsString());
    set_conditions(*want.mutable_conditions(), conditions);
    Mutation mutation;
    mutation.body = encode_mutation(want.conditions().ByteSizeLong() == 0, want);
    rows::HeadRow row;
    CHECK(row.ParseFromString(tables.heads.apply(current, mutation).value().row));
    return row;
  };
  rows::HeadRow before;
  before.set_version("0123456789abcdef");
  Conditions create, replace;
  create.if_none_match = {"*"};
  replace.if_match = {"*"};
  rows::HeadRow blind = row_of({}, before.SerializeAsString());
  EXPECT(!blind.conditional());
  rows::HeadRow created = row_of(create, std::nullopt);
  EXPECT(created.conditional());
  EXPECT(created.replaced().empty());
  rows::HeadRow replaced = row_of(replace, before.SerializeAsString());
  EXPECT(replaced.conditional());
  EXPECT(replaced.replaced() == before.version());
}
