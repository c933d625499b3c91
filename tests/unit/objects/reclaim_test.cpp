#include "store/objects/reclaim.h"

#include "store/meta/memory_target.h"
#include "store/meta/open_kv.h"
#include "store/register/entry.h"
#include "tests/unit/objects/fixture.h"

using namespace covey;

namespace {

const std::string kEtag(32, 'a');
constexpr auto kLong = std::chrono::minutes(5);

// An upload of one part to "k", and a Reclaimer that looks at it every second.
struct ReclaimFixture : ObjectsFixture {
  MemoryRows rows;
  MemoryTarget target{loop, rows, [] { return false; }};
  std::unique_ptr<Kv> kv;
  std::unique_ptr<Reclaimer> reclaimer;
  std::string bytes = sample(3'000'000);
  UploadId upload;
  RegisterKey upload_row, part_row;

  ReclaimFixture() {
    KvOptions options;
    options.dir = "/meta";
    kv = loop.run(open_kv(std::move(options), host.runtime(), target)).value();
    ReclaimSettings settings;
    settings.grace = settings.pause = std::chrono::seconds(1);
    reclaimer = std::make_unique<Reclaimer>(host.runtime(), *kv, registers, registers, blocks,
                                            garbage, settings);
    CreateUploadRequest create;
    create.bucket = "b", create.key = "k";
    upload = loop.run(store->create_upload(std::move(create), later())).value().id;
    TextBody body(bytes, kEtag);
    REQUIRE(loop.run(store->upload_part({"b", "k", upload, 1}, body, later())).has_value());
    Bucket bucket = loop.run(store->bucket("b", later(), Freshness::kNow)).value();
    KeySpace space{bucket.id, bucket.index_shards, 16};
    upload_row = upload_key(space, "k", upload);
    part_row = part_key(space, "k", upload, 1);
    WriteBatch batch;  // where it finds them; what they say is in `registers`
    for (const RegisterKey& key : {upload_row, part_row}) batch.put(register_store_key(key), "");
    REQUIRE(loop.run(kv->write(std::move(batch))).has_value());
  }
  ~ReclaimFixture() { loop.run(kv->close()); }

  Result<ObjectInfo> complete(uint32_t parts = 1) {
    CompleteRequest request;
    request.bucket = "b", request.key = "k", request.upload = upload;
    for (uint32_t number = 1; number <= parts; ++number) {
      CompletePart part;
      part.number = number, part.etag = kEtag;
      request.parts.push_back(part);
    }
    return loop.run(store->complete_upload(request, later()));
  }
  void copy_onto_itself() {
    CopyRequest request;
    request.source_bucket = request.bucket = "b";
    request.source_key = request.key = "k";
    request.owner = "owner";
    REQUIRE(loop.run(store->copy(request, later())).has_value());
  }
  void set_state(rows::UploadRow::State state) {
    auto read = loop.run(registers.read(upload_row, false, Fence{}, later())).value();
    rows::UploadMutation want;
    REQUIRE(want.mutable_row()->ParseFromString(read.row.value()));
    want.mutable_row()->set_state(state);
    bool ended = state != rows::UploadRow::COMPLETING;
    want.mutable_row()->set_ended_ms(ended ? host.runtime().clock.wall_now().ms : 0);
    change_upload(std::move(want));
  }
  void change_upload(rows::UploadMutation want) {
    want.add_expect(rows::UploadRow::COMPLETED);
    Mutation mutation;
    mutation.body = encode_mutation(false, want);
    REQUIRE(loop.run(registers.mutate(upload_row, std::move(mutation), later())).has_value());
  }
  // As a Complete that was sent again does when it cannot know whether the first one's head stood.
  void give_up() { set_state(rows::UploadRow::ABORTED); }
  void run_reclaimer() {
    REQUIRE(loop.run(kv->write(std::exchange(registers.displaced, {}))).has_value());
    Scope running;
    running.spawn(reclaimer->run(running));
    loop.run(loop.sleep(kLong));
    running.request_stop();
    loop.run(running.join());
  }
};

}  // namespace

TEST_CASE_FIXTURE(ReclaimFixture, "parts of an upload that was aborted are given back") {
  REQUIRE(!blocks.blocks.empty());
  REQUIRE(loop.run(store->abort_upload("b", "k", upload, later())).has_value());
  run_reclaimer();
  EXPECT(blocks.blocks.empty());
}

TEST_CASE_FIXTURE(ReclaimFixture, "a manifest is not read for each part of its upload") {
  constexpr uint32_t kParts = 6, kUsed = 4;
  const std::string large = sample(5 * kMiB);
  Bucket bucket = loop.run(store->bucket("b", later(), Freshness::kNow)).value();
  KeySpace space{bucket.id, bucket.index_shards, 16};
  WriteBatch batch;
  blocks.blocks.clear();  // of the first part, which is uploaded again
  for (uint32_t number = 1; number <= kParts; ++number) {
    TextBody body(large, kEtag);
    REQUIRE(loop.run(store->upload_part({"b", "k", upload, number}, body, later())).has_value());
    batch.put(register_store_key(part_key(space, "k", upload, number)), "");
  }
  REQUIRE(loop.run(kv->write(std::move(batch))).has_value());
  const size_t each = blocks.blocks.size() / kParts;
  REQUIRE(complete(kUsed).has_value());
  registers.attachment_reads = 0;
  run_reclaimer();
  EXPECT(registers.attachment_reads <= 2);  // for the rows, and for the part that was displaced
  EXPECT(blocks.blocks.size() == each * kUsed);  // the others are given back
  EXPECT(get("k").value() == large + large + large + large);
}

TEST_CASE_FIXTURE(ReclaimFixture, "an upload that was given up keeps what a copy of it claims") {
  REQUIRE(complete().has_value());
  copy_onto_itself();
  give_up();
  run_reclaimer();
  EXPECT(get("k").value() == bytes);
  REQUIRE(put("k", "small").has_value());
  run_reclaimer();
  EXPECT(blocks.blocks.empty());
}

TEST_CASE_FIXTURE(ReclaimFixture, "an upload that was given up keeps an object that stands") {
  REQUIRE(complete().has_value());
  give_up();
  run_reclaimer();
  EXPECT(get("k").value() == bytes);
}

// cluster_sim, seed 5167 once: where there was no object before and is none now, one may have been.
TEST_CASE_FIXTURE(ReclaimFixture, "a Complete sent again does not bring back what was deleted") {
  REQUIRE(complete().has_value());
  REQUIRE(remove("k").has_value());
  set_state(rows::UploadRow::COMPLETING);  // its end was lost with the node
  EXPECT(complete().is(ErrorCode::kUnknownOutcome));
  EXPECT(get("k").is(ErrorCode::kNoSuchKey));
}

TEST_CASE_FIXTURE(ReclaimFixture, "a Complete sent again finishes what was not written") {
  REQUIRE(complete().has_value());
  set_state(rows::UploadRow::COMPLETING);
  EXPECT(complete().has_value());
  EXPECT(get("k").value() == bytes);
}

TEST_CASE_FIXTURE(ReclaimFixture, "an upload whose Complete broke off ends a week later") {
  REQUIRE(complete().has_value());
  set_state(rows::UploadRow::COMPLETING);
  run_reclaimer();
  EXPECT(complete().has_value());  // until then it can be sent again
  set_state(rows::UploadRow::COMPLETING);
  loop.run(loop.sleep(std::chrono::hours(24 * 7)));
  run_reclaimer();
  EXPECT(complete().is(ErrorCode::kNoSuchUpload));
  EXPECT(get("k").value() == bytes);
}

// Of a replica that was away for longer than an ended upload is remembered.
TEST_CASE_FIXTURE(ReclaimFixture,
                  "rows of parts go after their upload's, blocks are left to others") {
  REQUIRE(complete().has_value());
  rows::UploadMutation remove;
  remove.set_remove(true);
  change_upload(std::move(remove));
  run_reclaimer();
  EXPECT_FALSE(kv->get(register_store_key(part_row)).value().has_value());
  EXPECT(get("k").value() == bytes);
}
