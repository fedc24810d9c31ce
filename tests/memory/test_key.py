"""Keys of any script: what counts as a word, what the encoder cannot read, and that no script loses lessons."""

import pytest

from everlearn.memory.gate import Gate
from everlearn.memory.key import KeyMaker, words
from everlearn.records import TableSettings
from toys import ToyEncoder

# Different questions in each; the first two or more of a script look alike.
SCRIPTS = {
    "Thai": [
        "ใครเป็นผู้จัดการ",
        "สภาพอากาศวันนี้เป็นอย่างไร",
        "โรงงานอยู่ที่ไหน",
        "ราคาของสินค้าเท่าไหร่",
        "ใครเป็นผู้อำนวยการโรงเรียน",
        "รหัสผ่าน wifi คืออะไร",
    ],
    "Khmer": ["អ្នកណាជានាយក", "រោងចក្រនៅឯណា", "តម្លៃប៉ុន្មាន", "អាកាសធាតុថ្ងៃនេះយ៉ាងណា", "បើកម៉ោងប៉ុន្មាន", "មុនពេលនេះ អ្នកណា"],
    "Amharic": [
        "የኢትዮጵያ ዋና ከተማ ማን ነው?",
        "የኬንያ ትልቁ ወንዝ ስም ምንድን ነው?",
        "ዛሬ የአየር ሁኔታ እንዴት ነው?",
        "ሱቁ መቼ ይከፈታል?",
        "የፋብሪካው ሥራ አስኪያጅ ማን ነው?",
        "የኬንያ ዋና ከተማ ማን ነው?",
    ],
    "Georgian": [
        "ვინ არის ქარხნის დირექტორი?",
        "სად არის ოფისი?",
        "რა ღირს ეს?",
        "ვინ არის სკოლის დირექტორი?",
        "როდის იხსნება მაღაზია?",
        "სად არის ჩვენი ქარხანა?",
    ],
    "Hindi": [
        "कारखाने का निदेशक कौन है?",
        "कार्यालय कहाँ है?",
        "फ्रांस की राजधानी क्या है?",
        "आज मौसम कैसा है?",
        "दुकान कब खुलती है?",
        "स्कूल का निदेशक कौन है?",
    ],
    "Chinese": [
        "苏州分公司的经理是谁?",
        "杭州分公司的经理是谁?",
        "仓库的密码是什么?",
        "餐厅的密码是什么?",
        "今天天气怎么样?",
        "法国的首都是哪里?",
    ],
    "Japanese": [
        "工場の責任者は誰ですか?",
        "倉庫の責任者は誰ですか?",
        "今日の天気はどうですか?",
        "店は何時に開きますか?",
        "フランスの首都はどこですか?",
        "倉庫のパスワードは何ですか?",
    ],
    "Korean": [
        "공장 책임자는 누구입니까?",
        "창고 비밀번호는 무엇입니까?",
        "오늘 날씨가 어때요?",
        "창고 책임자는 누구입니까?",
        "가게는 언제 엽니까?",
        "프랑스의 수도는 어디입니까?",
    ],
    "Arabic": [
        "من هو مدير المصنع؟",
        "أين يقع المكتب؟",
        "ما هي عاصمة فرنسا؟",
        "كيف حالك اليوم؟",
        "من هو مدير المدرسة؟",
        "متى يفتح المتجر؟",
    ],
    "Hebrew": [
        "מי מנהל המפעל?",
        "איפה המשרד?",
        "מה בירת צרפת?",
        "מי מנהל בית הספר?",
        "מתי נפתחת החנות?",
        "מה הסיסמה של הרשת?",
    ],
    "Russian": [
        "Кто директор завода?",
        "Где находится завод?",
        "Как зовут кошку Ольги?",
        "Какая столица Франции?",
        "Кто директор школы?",
        "Кто написал роман?",
    ],
    "Greek": [
        "Ποιος είναι ο διευθυντής;",
        "Πού είναι το γραφείο;",
        "Ποια είναι η πρωτεύουσα της Γαλλίας;",
        "Τι καιρό κάνει σήμερα;",
        "Πότε ανοίγει το μαγαζί;",
        "Ποιος είναι ο δήμαρχος;",
    ],
    "emoji": [
        "🎉",
        "🍕",
        "What does 🎉 mean?",
        "What does 🍕 mean?",
        "Who uses the 👨‍👩‍👧 emoji?",
        "Who uses the ❤️ emoji?",
    ],
}

LATIN = "abcdefghijklmnopqrstuvwxyz0123456789"


class LatinEncoder(ToyEncoder):
    """Reads Latin letters and digits only; every other text is one and the same to it, as to the packaged encoder."""

    unknown_id = 100

    def piece_ids(self, word):
        return super().piece_ids(word) if all(c in LATIN for c in word) else [100]

    def encode(self, texts):
        return super().encode(["".join(c if c.isascii() else "x" for c in t) and "same" for t in texts])


@pytest.fixture(params=[ToyEncoder, LatinEncoder], ids=["reads all", "reads Latin"])
def keys(request):
    return KeyMaker(request.param())


def pairs(keys, script):
    made = [keys.key(text) for text in SCRIPTS[script]]
    return [(a, b) for a in made for b in made if a is not b]


@pytest.mark.parametrize("script", SCRIPTS)
def test_different_questions_do_not_recall_or_replace_each_other(keys, script):
    gate = Gate.packaged()
    threshold = TableSettings().threshold
    for query, entry in pairs(keys, script):
        assert gate.probability(query, entry) < threshold, (query.words, entry.words)
        assert not gate.same_question(query, entry), (query.words, entry.words)


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_same_question_still_speaks_and_is_replaced(keys, script):
    gate = Gate.packaged()
    for text in SCRIPTS[script]:
        key, again = keys.key(text), keys.key(f"  {text.rstrip('?؟;')} ")
        assert gate.probability(again, key) == 1.0
        assert gate.same_question(again, key)


@pytest.mark.model
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_packaged_encoder_mixes_no_script_up(real_parts, script):
    gate = Gate.packaged()
    threshold = TableSettings().threshold
    for query, entry in pairs(real_parts.keys, script):
        assert gate.probability(query, entry) < threshold, (query.words, entry.words)
        assert not gate.same_question(query, entry), (query.words, entry.words)


def test_vowel_signs_belong_to_their_word():
    assert words("कारखाने का निदेशक?") == ["कारखाने", "का", "निदेशक"]


def test_emoji_and_symbols_are_words_but_not_those_of_ascii():
    assert words("What does ❤️ 🍕 mean + 5?") == ["what", "does", "❤", "🍕", "mean", "5"]


def test_chinese_characters_are_words():
    assert words("谁是经理?") == ["谁", "是", "经", "理"]


def test_hidden_is_the_share_of_words_the_encoder_cannot_read():
    keys = KeyMaker(LatinEncoder())
    assert keys.key("What does 🍕 mean?").hidden == 0.25
    assert keys.key("Who runs it?").hidden == 0.0
    assert keys.key("🍕").signature["🍕"] == 2.0


def test_a_kind_emoji_does_not_hide_an_english_question():
    gate, keys = Gate.packaged(), KeyMaker(ToyEncoder())
    asked, taught = "Who runs the Zorblat bakery in the old town? 🙂", "Who runs the Zorblat bakery in the old town?"
    assert gate.probability(keys.key(asked), keys.key(taught)) > 0.5


def test_another_ending_of_a_russian_word_is_no_other_word():
    gate, keys = Gate.packaged(), KeyMaker(ToyEncoder())
    asked, taught = keys.key("Кто директор нашего завода сегодня?"), keys.key("Кто директор нашего заводу сегодня?")
    assert gate.probability(asked, taught) > 0.0
    assert not gate.same_question(asked, taught)
