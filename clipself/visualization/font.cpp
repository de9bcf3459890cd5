// The letters of DejaVu Sans (Bitstream Vera and DejaVu licences), drawn once at two sizes as 4-bit coverage:
// hexadecimal digits row by row, where the letters g to z stand for 2 to 21 zeros.
#include "clipself/visualization/font.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace clipself::visualization {

namespace {

struct Packed {
  int width;
  const char* coverage;
};
struct Glyphs {
  int height;
  std::array<Packed, 95> glyphs;
};

// clang-format off
constexpr Glyphs kText{.height = 14, .glyphs = {{
    {4, "zzs"},
    {5, "qf4hf4hf4hf4hf3he2mf4hf4u"},
    {6, "rb55bgb55bgb55bgb55bzzl"},
    {11, "t79097ka50c4kd20e1h4fffffffdi6a078ka60b4iffffffff3h2e04ck5a079k870a5zu"},
    {8, "x46i2beea2gba5757gd546i6da91i17bd8i461f20a4466e103beeb4i46k46p"},
    {12, "zi6ed4ha5g2e24eg5ah4bge11d1h2e24e0a5j7ed45a1bea1i1d1891a7ia50b4069h5bg891a7g1d2g1bea1zt"},
    {10, "z04dea2je7147i1f4mbd2k8a5e3gf21f205e44d02f3g4ed6gbc313cf5g19dfc64f4zn"},
    {4, "nb5gb5gb5gb5zq"},
    {5, "g4chc5g3eh8ahb7hd6hd6hb7h8ah3eic5h4cp"},
    {5, "0b5h4did4h99h6ch5eh5eh6ch99hd4g4dhb5q"},
    {6, "s29g68293a05bd9105bd9168293bg29zv"},
    {11, "zj1fn1fn1fn1fk9fffffff8j1fn1fn1fn1fzv"},
    {4, "zu7dg99gd2n"},
    {5, "zs5fff1zn"},
    {4, "zu9bg9br"},
    {4, "pdg2eg79gb501e105bga6ge204cg88gd3k"},
    {8, "w8eea1g7d31bbgd6g2f21f3he52f2hd61f3he50d6g2f207d31bbh8eea1zi"},
    {8, "v9fffk4fk4fk4fk4fk4fk4fk4fi6fffff1zh"},
    {8, "v4bed91gb413c9k7dkaaj6e2i6e3i7e3i8d2i1ffffffzi"},
    {8, "v2aeea2g8512bbk5fj2aah6ffc2j19d1j2f30a3029eg5ceea2zi"},
    {8, "ybf3i7bf3h2d2f3hc51f3g7a01f302d101f305ffffff8i1f3j1f3zi"},
    {8, "v9ffff7g99k99k9efd91j3cak4f1j4f10a313cbg4ced91zi"},
    {8, "w4cec4g3e6129gb9kf7cec401fd317e21f8he60d8he506d317e1g7eec3zi"},
    {8, "vefffff2j9bj1e5j6ekc8j3f2j9bj1e5j6ezl"},
    {8, "v1aeeb3gac219egd6g2f208b218cg1bffd2gca117e21f3he50da116f203beec5zi"},
    {8, "v1aeea1gcb12ba02f3g3f22f3g3f40cb12bf502aee7f4j5e107414d7g2bed6zj"},
    {4, "v7dg7ds7dg7dr"},
    {4, "v7dg7ds7dg99gd2n"},
    {11, "zx497j38dd82g17ce94j9f91l17ce94m38dd82m497zzh"},
    {11, "zzs9fffffff8zh9fffffff8zzs"},
    {11, "zr893m38ed72m4aeb61l1af8j49ec61g28ed72j893zzn"},
    {7, "t5cec301a219dj7di5e4h4e2i7bq8cj8czh"},
    {13, "zm29dfeb4j5d82115c9h3d2ka6gb404deab31d01dge514f30d12c02dhd31e01dge504f4a8gb404deabc6h4d2p6d72026c1j39dfd"
     "b5u"},
    {9, "z7f6kd9cj4c0e3ia5079h2dg1d1g7fffff6gd2h4c04dje3a9ja9zk"},
    {9, "xbfffd8hb8g3e6gb8hb9gb8g3e5gbffffahb8g2bagb8h6egb8g2bcgbfffea2zl"},
    {9, "y3aeec7104f8213850d9k2f3k4f2k2f3ld9l4f821385g3aeec71zk"},
    {10, "zbfffda3hb8g28f5gb8i9dgb8i4f20b8i2f30b8i4f20b8i9dgb8g28f5gbfffda3zp"},
    {8, "vbfffff40b8kb8kb8kbfffff10b8kb8kb8kbfffff6zh"},
    {7, "tbffffb0b8jb8jb8jbffff50b8jb8jb8jb8zi"},
    {10, "z03aefd92g4f821269gd9l2f3l4f2g5fff02f3i4fgd9i4fg4f82018fh3aefda3zo"},
    {10, "zb8ic8gb8ic8gb8ic8gb8ic8gbffffff8gb8ic8gb8ic8gb8ic8gb8ic8zo"},
    {4, "nb8gb8gb8gb8gb8gb8gb8gb8gb8r"},
    {4, "nb8gb8gb8gb8gb8gb8gb8gb8gb8gc703f40e8g"},
    {9, "xb8g1bc10b801cb1gb82daibbe8jbee3jb98e3ib808e3hb8g7e4gb8h6e5zk"},
    {7, "tb8jb8jb8jb8jb8jb8jb8jb8jbfffffz"},
    {11, "zgbf6h3fegbcch9cegb8d301e6egb87906a4egb81e1c44egb80aad04egb804f704egb8j4egb8j4ezr"},
    {10, "zbf4hc7gbechc7gb8d6gc7gb85e10c7gb80c80c7gb804e2c7gb8ga9c7gb8g2fe7gb8h8f7zo"},
    {10, "z03befc5h4f8216e7gd9i5f22f3jf64f2jd72f3jf60d9i5f205f8215e8h4befc6zp"},
    {8, "vbffec4gb8019e10b8g1f50b8g1f50b8019e10bffec4gb8kb8kb8zm"},
    {10, "z03befc6h4f8216e8gd9i5f22f3jf64f2jd72f3jf60d9i5f104f8215e7h4beff5l1e8m4f4p"},
    {9, "xbffec5hb8016f3gb8hf5gb8016f2gbffff4hb801achb8g1e6gb8h7dgb8h1e6zk"},
    {8, "v2aeeb4gda214b01f3kda3j29dfc5j16f4kd72b4116f404beec6zi"},
    {8, "uffffffffha9ka9ka9ka9ka9ka9ka9ka9zk"},
    {10, "zd6ie6gd6ie6gd6ie6gd6ie6gd6ie6gd7ie6gb9h1f4g5e512aci6ceea2zp"},
    {9, "waajb94e1h2f30d6h8cg7che6g2f305e1ha90b9i4e3f3jddck7f6zn"},
    {13, "zj7dh6f4g1f43f2gac8g4f10e6ge5cg8bgaa03d0e10c7g6e0790b51f3g2f2b50795eid7e103d9bi9echee7i5f8haf3zy"},
    {9, "xc8h7d103e403e3h7d2d7jbebk6f6j2e9e2ic909bh8c101d704e3h4e3zk"},
    {8, "uaaib91d6g7d104e23e3h8cd7jdcka9ka9ka9ka9zk"},
    {9, "w4fffffff3j1cakac1j8d2j6e3j4f5j2e7j1d9k6fffffff5zk"},
    {5, "kdfcgd4hd4hd4hd4hd4hd4hd4hd4hd4hd4hdfck"},
    {4, "md3g88g4che2ga6g5bg1e1gb5g79g2ehdi"},
    {5, "kbfeh3eh3eh3eh3eh3eh3eh3eh3eh3eh3egbfek"},
    {11, "zj9f7l7e6e5j5e304e4h3e3h4e2zzzzj"},
    {6, "zzztffffff"},
    {6, "l6bj6azzzj"},
    {8, "zqbffd7k3d5k6ag5ceffc01f5107c02f403dcg7efc8czi"},
    {8, "0c5kc5kc5kc5kc8bec3gce417e10c8hd60c6hb80c8hd60ce417e10c8cec4zi"},
    {7, "zm19de910ab21642f2i4fj2f2jbb2164019de91z"},
    {8, "j1f1j1f1j1f1j1f101bed6f10ba12cf12f1g4f14eh2f12f1g4f10ca12cf102bed6f1zh"},
    {8, "zq19deb2gab218c02f2he34ffffff52f1kab213ag18dec5zi"},
    {5, "g9ec05d1g89h99gbfff8099h99h99h99h99h99v"},
    {8, "zq2bed6f10ca12cf12f1g4f14eh2f12f1g4f10ca12cf102bed7f1j4eg5513c9g1aed910"},
    {8, "0c5kc5kc5kc5kc8bed4gcd317egc7g1f20c5hf20c5hf20c5hf20c5hf2zh"},
    {4, "jc6oc6gc6gc6gc6gc6gc6gc6r"},
    {4, "jc6oc6gc6gc6gc6gc6gc6gc6gc601e40e9g"},
    {8, "0c5kc5kc5kc5kc501ab10c51c9hc8d7icec1ic6ac1hc509c1gc5g8d2zh"},
    {4, "0c6gc6gc6gc6gc6gc6gc6gc6gc6gc6gc6r"},
    {13, "zzpc8bed37de9hcd319e912e5gc7g4f1ga8gc5g3eh98gc5g3eh98gc5g3eh98gc5g3eh98zx"},
    {8, "zqc8bed4gcd317egc7g1f20c5hf20c5hf20c5hf20c5hf2zh"},
    {8, "zq1aee91gbb22bb02f2g3f14fif32f2g3f10bb12bbg1aeea1zi"},
    {8, "zqc8bec3gce417e10c8hd60c6hb80c8hd60ce417e10c8cec4gc5kc5kc5j"},
    {8, "zq1bed6f10ba12cf12f1g4f14eh2f12f1g4f10ca12cf102bed6f1j1f1j1f1j1f1"},
    {5, "zc8be0ce3gc7hc5hc5hc5hc5v"},
    {7, "zm6deb302f303802e3j5bc93j5e148206f107dec5z0"},
    {5, "pc6hc6gafffc0c6hc6hc6hc6ha8h3dfct"},
    {8, "zqd4g2f10d4g2f10d4g2f10d4g2f10d5g3f10aa12bf102bec6f1zh"},
    {8, "zp6ch2f21f3g8bga9gd5g4e04e1hd5a9i8be3i2fczk"},
    {11, "zzg5dg8f203e01f20cd607agc61e6a0b6g8a5b1e1f2g4e970c7diee308e9ibeg4f5zs"},
    {8, "zp2e5g9bg4e26e1h8de4i1fbjbae6h7d14e304e3g7d1zh"},
    {8, "zp6ch2f21e3g8bg9age5g2f15eib7c8i5ef2jebke5j7djfe4i"},
    {7, "zl4fffff4i7c1h6d1h4e2h3e3h2d5i7fffff4z"},
    {8, "qbeai5e2j6ck6cj1aai6fe2j1c9k7bk6ck6ck4e2kaean"},
    {4, "j5bg5bg5bg5bg5bg5bg5bg5bg5bg5bg5bg5bg5b0"},
    {8, "n6fc3j1a9k8ak7ak6d2kbfai5e3j7bk8ak8aj1b8i6fc2p"},
    {11, "zzzi2aed82167g75139eea1zzzi"},
}}};

constexpr Glyphs kTitle{.height = 19, .glyphs = {{
    {7, "zzzzzzl"},
    {9, "p5fffj5fffj5fffj5fffj5fffj5fffj4ffej2ffckffakef9s5fffj5fffj5fffzw"},
    {10, "p3ff02ff1g3ff02ff1g3ff02ff1g3ff02ff1g3ff02ff1zzzzzzj"},
    {16, "z0bf504fcm1ff108f8m5fbgdf3jafffffffffff9hafffffffffff9j2feg9f7m5fbgdf4m8f801ff1jbfffffffffff8hbfffffffff"
     "ff8j4fdgbf5m7f9gef2maf603fdnef306fazzzl"},
    {13, "w2f6o2f6m6bdfec83ibffffffff1g5ffb4f636c1g7ff72f6k6ffe9f7k1dffffffb4i2afffffff5j15fbdffck2f62ffeg7a522f65"
     "ffcg8fffffffff4g15aceffd93l2f6o2f6o2f6w"},
    {19, "y19efc5j8f8jafffff4h2fd1i2ff61bfbhbf5j5ffg5feg5fbk5ffg5fe01ee2k2ff61bfb09f7mafffff43fd05cfe91g19efc50cf4"
     "4fffffam7f90bfc16ff3k2ee10ef6gef5kaf6gef6gef5j4fbhbfc16ff3i1df2h4fffffaj8f8j5cfe91zzzs"},
    {17, "z29dfda4n3effffff3maffc114a3mbff9r8ffe2q4fffc1o6fffffbhdff1g3fff9fffa01ffdhaff906fff97ff9hcff6g7ffffff3h"
     "bff9h8ffff8i6fff7115ffff6jafffffffffff5j5befec83afff5zzzk"},
    {6, "l3ffh3ffh3ffh3ffh3ffzzzv"},
    {9, "rdfdj6ff7jefe1i5ffajbff5jeff2i3ffej4ffdj5ffcj4ffdj3ffekeff2jbff5j5ffakefe1j6ff7kdfdp"},
    {9, "o4ff8kcff2j5ff9j1efe1jaff6j7ffaj4ffdj3ffej2fffj3ffej4ffdj7ffajaff6i1efe1i5ff9jcff2i4ff8r"},
    {10, "sccmcci3b30cc04c24efaddafd4017effe7h17effe7g4efaddafd43b30cc04c2icczzzzo"},
    {16, "zzq2ff1q2ff1q2ff1q2ff1q2ff1mfffffffffffeifffffffffffem2ff1q2ff1q2ff1q2ff1q2ff1zzzl"},
    {7, "zzzt1fff4g1fff4g1fff4g4ffbh9fe2hdf5v"},
    {8, "zzzgfffffdgfffffdgfffffdzzzg"},
    {7, "zzzt1fff4g1fff4g1fff4g1fff4zm"},
    {7, "p4fci9f7idf3h3fdi8f8icf4h2fei6faibf5h1ff1h5fbiaf6ief2h4fci8f8idf3w"},
    {13, "u29dfeb4j4fffffff7h2eff714fff4g8ffdhaffbgcffah6fff10fff8h5fff31fff7h4fff41fff7h4fff40fff8h5fff30cffah6ff"
     "f108ffdhaffbg2eff714fff4h5fffffff7j2adfeb4zzr"},
    {13, "t26bfffckdfffffckb94affcn9ffcn9ffcn9ffcn9ffcn9ffcn9ffcn9ffcn9ffcn9ffckcffffffffehcffffffffezzp"},
    {13, "t49cefda4i7ffffffff6h7f9314dfff2g64i5fff6m2fff6m4fff4mcffdmaffe3laffe4k1bffe4k1cffe3k2dffd2l8fffffffff8g"
     "8fffffffff8zzp"},
    {13, "t39cefeb71h2ffffffffch2b5202bfff5m4fff5l2bffd1i5fffff81j5fffffe6l14cfff3m1fff8neffam1fff9g983113cfff4gbf"
     "fffffff7h17bdfed93zzr"},
    {13, "w1dfff6l9ffff6k5fffff6j1efafff6jbfe1fff6i6ff60fff6h2efbgfff6hbfe2gfff6g2ff6hfff6g2fffffffffff52fffffffff"
     "ff5lfff6nfff6nfff6zzq"},
    {13, "tffffffffdiffffffffdiffdoffdoffdofffefeb6jffffffffbib6212afff7ndffcnbffdndffbg7a5202afff6g8ffffffffah15a"
     "cefda5zzr"},
    {13, "v4adfdb5j9fffffff4h8ffe621494g2fff4m7ffdnaffc9dfea2hcffffffffe3gcfffa12cffcgbfff2g6fff209fffh4fff304fff2"
     "g6fff1gcffa12cffah2dffffffc1i18dfec71zzq"},
    {13, "sbfffffffffbgbfffffffffbm4fff7mbffe1l2fff9m8fff2l1effam6fff4mcffcm4fff5maffdm2fff7m8ffe1meff8zzu"},
    {13, "t18cefed92h1dfffffffe3g6fff513effag7ffdhaffag2fff503eff5h3bfffffd5i4cfffffd6h3fff514eff6gaffah7ffdgcff8h"
     "5fffgbffah7ffeg7fff513effag1cfffffffe2i7cefec81zzq"},
    {13, "u6befd92jbffffffe4h7ffe318ffe1gdff8heff7gfff7hdffbgeff8heffegaffe318ffffg2dffffffffeh19dfeaaffdnaffam2ff"
     "f4g1b4115dffah1fffffffb1i4adfeb5zzs"},
    {8, "zzdff7idff7idff7idff7ydff7idff7idff7idff7zr"},
    {8, "zzdff7idff7idff7idff7ydff7idff7idff7h1ffd1h6ff3iaf8y"},
    {16, "zzzq27bo16bffem4aefffd7j28dfffe83kcfffe94nfff91pcfffe94o28dfffd83o4aefffd7o16bffer27bzzzh"},
    {16, "zzzzsfffffffffffeifffffffffffeztfffffffffffeifffffffffffezzzzzn"},
    {16, "zzzhc71rfffb5p8dfffe94o49efffd72o4aefffbp1affen49efffbk39efffd82j8dfffe94mfffb5pc71zzzq"},
    {11, "q17befda2haffffffe2g98312dff9l9ffbk1dffakbfff4j9fff7j4fff8kaffdlbff9wcff9lcff9lcff9zzk"},
    {19, "zi6adfec72n4dffffffff7l5ffc620149ff9j3ef6l2df7ibf6g8ee98f72ee1g3fbg8ffffef707f5g8f501ff716ff703f9gaf204f"
     "dhcf702fagbfg6fbhbf703f9gaf104fdhdf708f5g8f501ff716ff87fd1g3fbg8ffffefffe3icf5g8ee98ed82j3ff6l93l5ffb520"
     "26dfbm4dfffffffd3o6befeb6zi"},
    {15, "yefffan5fffff1mbfffff6l1fffdffbl6ffe4fff2kcff90eff7j2fff409ffdj8ffeg4fff3idff9heff9h4ffffffffffeh9ffffff"
     "fffff501eff6jbffa05fff2j6fff1bffdk2fff6zzw"},
    {14, "t4ffffffec71h4fffffffffch4fff5018fff5g4fff5g1fff8g4fff5g1fff8g4fff5018fff3g4ffffffffe6h4fffffffffb1g4fff"
     "5g3effbg4fff5h8fff104fff5h8fff204fff5g3effeg4ffffffffff5g4ffffffeda3zzu"},
    {14, "w28cefec83i8ffffffffbh8fffa301379g3fffanafff1neffcofffaofffaoeffcoafff1n3fffao9fffa301379i8ffffffffbj28c"
     "efec83zzt"},
    {16, "v4fffffeda61j4fffffffffe4i4fff5015dfff4h4fff5h1dffe1g4fff5i5fff6g4fff5i1fffag4fff5jeffbg4fff5jeffbg4fff5"
     "i1fffag4fff5i5fff6g4fff5h1dffe1g4fff5015dfff4h4fffffffffe4i4fffffeda61zzzj"},
    {13, "s4fffffffff6g4fffffffff6g4fff5m4fff5m4fff5m4fff5m4fffffffffh4fffffffffh4fff5m4fff5m4fff5m4fff5m4ffffffff"
     "f9g4fffffffff9zzp"},
    {13, "s4fffffffff6g4fffffffff6g4fff5m4fff5m4fff5m4fff5m4fffffffffh4fffffffffh4fff5m4fff5m4fff5m4fff5m4fff5m4ff"
     "f5zzv"},
    {16, "y28cefedb73j7fffffffffai8fffb4112599h3fffapafff2peffcqfffah6fffff3gfffah6fffff3geffcj3fff3gafff1i3fff3g3"
     "fff9i3fff3h9fffa3016fff3i8ffffffffff3j28cefecb73zzzh"},
    {16, "v4fff5i6fff2g4fff5i6fff2g4fff5i6fff2g4fff5i6fff2g4fff5i6fff2g4fff5i6fff2g4ffffffffffff2g4ffffffffffff2g4"
     "fff5i6fff2g4fff5i6fff2g4fff5i6fff2g4fff5i6fff2g4fff5i6fff2g4fff5i6fff2zzzg"},
    {7, "m4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5zm"},
    {7, "m4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff5g4fff4g7fff304effdgffff4ge"
     "d92h"},
    {15, "u4fff5h2dffe304fff5g2dffe3g4fff502effe3h4fff52effe3i4fff7effe2j4ffffffe2k4ffffff3l4ffffffb1k4fffdfffb1j4"
     "fff5afffb1i4fff50afffb1h4fff5gafffb1g4fff5hafffb104fff5iafffbzzw"},
    {12, "r4fff5l4fff5l4fff5l4fff5l4fff5l4fff5l4fff5l4fff5l4fff5l4fff5l4fff5l4fff5l4fffffffff904fffffffff9zzk"},
    {19, "y4ffff8j9ffff2g4ffffei1effff2g4fffff6h7fffff2g4fffffchdfffff2g4fffaff405ff9fff2g4fff3ffa0cfe4fff2g4fff2a"
     "ff5ff83fff2g4fff23fffff23fff2g4fff20bfffa03fff2g4fff205fff303fff2g4fff2gdfcg3fff2g4fff2l3fff2g4fff2l3fff"
     "2g4fff2l3fff2zzzs"},
    {16, "v4fffe1h4fff2g4ffff8h4fff2g4ffffe1g4fff2g4fffff9g4fff2g4fffeff204fff2g4fff6ff904fff2g4fff2cff24fff2g4fff"
     "24ffa4fff2g4fff20bff6fff2g4fff203ffefff2g4fff2gafffff2g4fff2g2fffff2g4fff2h9ffff2g4fff2h2ffff2zzzg"},
    {16, "y49defda5k1affffffffb1iafff7115effch4fff7i5fff7gaffe1jdffdgeffbk9fff10fffak8fff20fffak8fff20effbk9fff10a"
     "ffe1jdffdg4fff7i5fff7hafff7115effci1affffffffb1k4adefda5zzzj"},
    {14, "t4ffffffec81h4fffffffffd2g4fff5016fffbg4fff5hbfff104fff5h8fff204fff5hbfff104fff5016fffbg4fffffffffd2g4ff"
     "ffffec81h4fff5n4fff5n4fff5n4fff5n4fff5zzz0"},
    {16, "y49defda5k1affffffffc1iafff7115effch4fff7i5fff7gaffe1jdffdgeffbk9fff10fffak8fff20fffak8fff20effbk9fff10a"
     "ffekdffcg5fff6i5fff6hafff6115effci1affffffffc1k49defff9q3ffe2q6ffd1qaffbw"},
    {15, "u4ffffffeb6j4fffffffffai4fff502bfff3h4fff5g3fff6h4fff5g2fff7h4fff5g3fff4h4fff502bffci4ffffffffa1i4ffffff"
     "ffb1i4fff504effci4fff5g6fff7h4fff5hcffe1g4fff5h5fff7g4fff5icffe1zzw"},
    {14, "v5befedb93i9ffffffff6h4ffe51136b5h8ffao9ffd3n7ffffd961j2efffffffa1i5efffffffbj15aefffff2m3bfff4n3fff3g7b"
     "63102affeh8fffffffff5h27adeffd93zzv"},
    {13, "refffffffffffdefffffffffffdi5fff4m5fff4m5fff4m5fff4m5fff4m5fff4m5fff4m5fff4m5fff4m5fff4m5fff4m5fff4zzs"},
    {15, "u4fff5idffag4fff5idffag4fff5idffag4fff5idffag4fff5idffag4fff5idffag4fff5idffag4fff5idffag4fff5idffag3fff"
     "5ieff9g1fff8h2fff7haffe512bfff2h1dffffffff5j17befed93zzz"},
    {15, "tbffdk2fff65fff3j8fff11eff9jdffag9ffei3fff5g4fff4h9ffeidffaheff9i8ffe104fff3i2fff50affdkcffb1eff7k6fff6f"
     "ff2k1fffeffbmbfffff6m5fffff1nefffazzzg"},
    {21, "z5fff2h5fff5h2fff41fff5h9fff8h6fffgdff9hcfffch9ffcg9ffcg1ffeff1gdff8g6fff104ff7ff401fff5g2fff408fe1ff705"
     "fff1heff80bfb0cfb08ffdiaffb0ef808fe0cff9i7fff4ff405ff3fff6i3fffaff101ffafff2jeffffchdffffekbffff9h9ffffa"
     "k7ffff5h6ffff7k4ffff1h2ffff3zzzzh"},
    {15, "t2eff9i1effbg7fff4haffe2hbffd105fff6i2eff91effbk6fffcffe2lbfffff6m2efffbn4ffffd1l1dfffff9l9fff9fff4j4fff"
     "70cffd1h1dffcg3fff9h9ffe2h7fff405fff6jcffd1zzw"},
    {14, "sdffe1i4fff93fffah1dffe108fff5g8fff5g1dffd13fffai4fff9cffe1j9ffffff5k1dffffbm5fffe2neffaoeffaoeffaoeffao"
     "effaoeffazzx"},
    {14, "teffffffffffbgeffffffffffbm2efff8l1cfffcmafffe2l6ffff4l3ffff8l1dfffbmbfffd1l7ffff3l4ffff6l1efffam2ffffff"
     "fffffe02fffffffffffezzt"},
    {9, "o5fffff6g5fffff6g5ffcj5ffcj5ffcj5ffcj5ffcj5ffcj5ffcj5ffcj5ffcj5ffcj5ffcj5ffcj5ffcj5fffff6g5fffff6o"},
    {7, "ldf3i8f8i4fcjef2iaf6i5fbi1ff1ibf5i6fai2fejcf4i8f8i3fdjdf3i9f7i4fcs"},
    {9, "obfffff1gbfffff1i2fff1i2fff1i2fff1i2fff1i2fff1i2fff1i2fff1i2fff1i2fff1i2fff1i2fff1i2fff1i2fff1gbfffff1gb"
     "fffff1o"},
    {16, "z0aff9paffff9n9ff9aff8l9fe5g6ef8j9fb2i2cf8zzzzzzzzzz"},
    {10, "zzzzzzzzgfffffffff8fffffffff8"},
    {10, "0afcl1cf7l1df2l3eczzzzzzzl"},
    {13, "zzzh4fffffda4i4ffffffff6m28ffen1fff3h7beffffff5gbfffffffff502fff8101fff501fff702afff5gbfffff9fff5g18dfd7"
     "0fff5zzp"},
    {14, "t6ffeo6ffeo6ffeo6ffeo6ffe08dfc6i6ffeafffff8h6fffb219fff3g6fff3heff8g6fffibffbg6fffibffbg6fff3heff8g6fffb"
     "219fff3g6ffeafffff8h6ffe08dfd6zzv"},
    {11, "zzu5befda3hbfffffffg8fff8214ageffak2fff5k2fff5leff9l8fff7214bg1bfffffffi5befda3zzh"},
    {14, "z05fffo5fffo5fffo5fffi19eec45fffh1dfffff9fffh9ffe415efffheff8h9fffg2fff5h6fffg2fff5h6fffheff8h9fffh9ffe4"
     "15efffh1dfffff9fffi19efc45fffzzu"},
    {13, "zzzj6befeb4i1bfffffff8h9ffe414eff5geff6h8ffb02ffffffffffe02fffffffffffgeff5n9ffe51125a6g1bffffffff7i5bef"
     "ec951zzp"},
    {8, "p8dfffg8fffffgdff8ifff5gafffffffafffffffgfff5ifff5ifff5ifff5ifff5ifff5ifff5ifff5zr"},
    {14, "zzzn19eec45fffh1dfffff9fffh9ffe515ffffheff8h9fffg2fff5h6fffg2fff5h6fffheff8h9fffh9ffe415ffffh1dfffff9fff"
     "i19efc46ffeoaffbib62028fff5idfffffff8j28ceeda4i"},
    {14, "t6ffeo6ffeo6ffeo6ffeo6ffe07dec6i6ffeafffff6h6fffc21bffdh6fff3g5fffh6fffh5fff1g6ffeh4fff1g6ffeh4fff1g6ffe"
     "h4fff1g6ffeh4fff1g6ffeh4fff1zzt"},
    {7, "m6ffeh6ffeh6ffeo6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffezn"},
    {7, "m6ffeh6ffeh6ffeo6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh7ffdg1cffagffff3gffc4h"},
    {13, "s6ffen6ffen6ffen6ffen6ffeg1bffd206ffe01cffc2g6ffe1cffc1h6ffecffa1i6fffffck6ffffff7j6ffe6fff7i6ffe07fff7h"
     "6ffeg7fff7g6ffeh8fff7zzo"},
    {7, "m6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffeh6ffezn"},
    {20, "zzzzv6ffe08eea205ced81h6ffeaffffd6fffffah6fffb13ffff717fff2g6fff2gcffdg1fff4g6fffhbffag1fff4g6ffehbff9g1"
     "fff4g6ffehbff9g1fff4g6ffehbff9g1fff4g6ffehbff9g1fff4g6ffehbff9g1fff4zzzw"},
    {14, "zzzm6ffe07dec6i6ffeafffff6h6fffc21bffdh6fff3g5fffh6fffh5fff1g6ffeh4fff1g6ffeh4fff1g6ffeh4fff1g6ffeh4fff1"
     "g6ffeh4fff1zzt"},
    {13, "zzzj6befeb6i1bfffffffc1g9ffe514eff9geff8h7fff12fff5h4fff32fff5h4fff30eff8h7fff109ffe514eff9g1bfffffffc1i"
     "6befeb6zzr"},
    {14, "zzzm6ffe08dfc6i6ffeafffff8h6fffb219fff3g6fff3heff8g6fffibffbg6fffibffbg6fff3heff8g6fffb219fff3g6ffeaffff"
     "f8h6ffe08dfd6i6ffeo6ffeo6ffeo6ffen"},
    {14, "zzzn19eec45fffh1dfffff9fffh9ffe415efffheff8h9fffg2fff5h6fffg2fff5h6fffheff8h9fffh9ffe415efffh1dfffff9fff"
     "i19efc45fffo5fffo5fffo5fffo5fffg"},
    {9, "zzi6ffe08df06ffeafff06fffd4h6fff3i6fffj6ffej6ffej6ffej6ffej6ffezx"},
    {11, "zzt7cefdb71g9fffffffbgeff401489geff62k8fffffc92h6beffffd1j14eff50b73103eff50dfffffffd1027bdfec81zzh"},
    {9, "x1fff3i1fff3i1fff3hbfffffffabfffffffa01fff3i1fff3i1fff3i1fff3i1fff3i1fff7jbfffff5g2aefff5zt"},
    {14, "zzzm8ffch6ffeh8ffch6ffeh8ffch6ffeh8ffch6ffeh8ffch6ffeh8ffch7ffeh7ffdhaffeh5fff516fffeidffffe9ffei2aeeb36"
     "ffezzu"},
    {12, "zzw8ffci6ffd2fff3hcff70aff8g2fff204ffeg8ffahdff40dff4h7ffa4ffdi1fffbff7jafffff1j4ffff9lcfff3zzn"},
    {18, "zzzzk3fff1gbff4g7ffbgeff4geff8gbff7gaff804fffcgeff3g6ffc08fcff14ffeh2fff1bf6df57ffaicff5ff39f9bff6i8ffcf"
     "e05fdfff2i4ffffa02ffffdj1ffff6gdfff8kbfff2g9fff4zzzq"},
    {12, "zzw3eff5g2eff606ffe20cff9h9ffb8ffc1h1cffffe2j2efff5k4ffff8j2efffff4icff96ffe2g8ffd10affc05fff3g1dff9zzk"},
    {12, "zzw8ffbi7ffd2fff2hcff70aff9g2fff103ffe108ffahcff60dff4h5ffc3ffdjdffcff7j7fffff2j1efffal8fff4l4ffdl1aff7j"
     "1ffffd1j1ffea2j"},
    {11, "zzseffffffff20effffffff2j3effd1i3effd2i2effe2i2dffe2i2dffe3i1dffe3j2fffffffff22fffffffff2zzg"},
    {14, "y6ceff2l4fffff2l9ffc2nbff7obff6obff6odff6m17fff3l9fffe7m9ffff9n16fff3ocff6obff6obff6obff7o9ffc2n4fffff2m"
     "6ceff2g"},
    {7, "g9f8i9f8i9f8i9f8i9f8i9f8i9f8i9f8i9f8i9f8i9f8i9f8i9f8i9f8i9f8i9f8i9f8i9f8i9f8g"},
    {14, "u9ffea2m9ffffcn16fff2oeff4odff4odff4odff6oaffd3n2bffff2l2dffff2laffc2ndff5odff4odff4oeff4m16fff2l9ffffcm"
     "9ffea2k"},
    {16, "zzzzzi1i29dfda62027cifffffffffffdie72026aefd92i2zzzzzzt"},
}}};
// clang-format on

Font unpack(const Glyphs& packed) {
  Font font{.height = packed.height, .glyphs = {}, .scale = 1};
  for (const Packed& glyph : packed.glyphs) {
    Glyph out{.width = glyph.width, .coverage = {}};
    for (const char* c = glyph.coverage; *c != 0; ++c) {
      if (*c >= 'g') {
        out.coverage.insert(out.coverage.end(), static_cast<std::size_t>(*c - 'g' + 2), std::uint8_t{0});
      } else {
        out.coverage.push_back(static_cast<std::uint8_t>(17 * (*c <= '9' ? *c - '0' : *c - 'a' + 10)));
      }
    }
    font.glyphs.push_back(std::move(out));
  }
  return font;
}

}  // namespace

const Font& text_font() {
  static const Font font = unpack(kText);
  return font;
}

const Font& title_font() {
  static const Font font = unpack(kTitle);
  return font;
}

Font enlarged(const Font& font, int factor) {
  if (factor <= 1) return font;
  Font large{.height = font.height * factor, .glyphs = {}, .scale = font.scale * factor};
  for (const Glyph& glyph : font.glyphs) {
    Glyph out{.width = glyph.width * factor, .coverage = {}};
    const auto at = [&](int x, int y) -> double {
      if (x < 0 || y < 0 || x >= glyph.width || y >= font.height) return 0;
      return glyph.coverage[static_cast<std::size_t>(y * glyph.width + x)];
    };
    for (int row = 0; row < large.height; ++row)
      for (int column = 0; column < out.width; ++column) {
        const double x = (column + 0.5) / factor - 0.5, y = (row + 0.5) / factor - 0.5;
        const int left = static_cast<int>(std::floor(x)), top = static_cast<int>(std::floor(y));
        const double fx = x - left, fy = y - top;
        const double upper = at(left, top) * (1 - fx) + at(left + 1, top) * fx;
        const double lower = at(left, top + 1) * (1 - fx) + at(left + 1, top + 1) * fx;
        const double value = upper * (1 - fy) + lower * fy;
        // Steeper about the middle: the edge stays a pixel wide instead of `factor`.
        out.coverage.push_back(static_cast<std::uint8_t>(std::clamp((value - 127.5) * factor + 127.5, 0.0, 255.0)));
      }
    large.glyphs.push_back(std::move(out));
  }
  return large;
}

}  // namespace clipself::visualization
