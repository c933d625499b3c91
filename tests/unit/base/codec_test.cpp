#include "base/core/codec.h"

#include "tests/unit/test.h"

#include "base/core/ids.h"

using namespace covey;

TEST_CASE("what Writer writes, Reader reads") {
  std::string out;
  Writer w(out);
  w.u8(7), w.u16(513), w.u32(1u << 31), w.u64(1ull << 63), w.u16_be(258), w.varint(300),
      w.bytes("abc");
  Reader r(out);
  EXPECT(r.u8() == 7);
  EXPECT(r.u16() == 513);
  EXPECT(r.u32() == 1u << 31);
  EXPECT(r.u64() == 1ull << 63);
  EXPECT(r.u16_be() == 258);
  EXPECT(r.varint() == 300);
  EXPECT(r.bytes() == "abc");
  EXPECT(r.done());
}

TEST_CASE("a short input is an error, never a read past the end") {
  Reader r(
      std::string_view("\x05"
                       "ab"));
  EXPECT(r.bytes().empty());
  EXPECT_FALSE(r.ok());
  EXPECT(r.u64() == 0);
  Reader endless(std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
  endless.varint();
  EXPECT_FALSE(endless.ok());
}

TEST_CASE("ids read back from hex") {
  auto id = VersionId::from_hex("000102030405060708090a0b0c0d0e0f");
  REQUIRE(id);
  EXPECT(id->hex() == "000102030405060708090a0b0c0d0e0f");
  EXPECT_FALSE(VersionId::from_hex("00"));
  EXPECT_FALSE(VersionId::from_hex("zz0102030405060708090a0b0c0d0e0f"));
}
