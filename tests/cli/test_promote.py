"""`everlearn promote`, and asking in somebody's name."""

WHO = "Who bakes at Zorblat?"


def test_a_lesson_goes_from_a_person_to_the_organisation(cli, teach):
    assert cli("tables", "create", "ann", "--layer", "personal", "--owner", "ann").code == 0
    assert cli("tables", "create", "company", "--layer", "organisation").code == 0
    lesson = teach(WHO, "Mirela", "--table", "ann")
    assert cli("ask", WHO, "--json").json["receipt"]["tables"] == ["company", "default"]
    mine = cli("ask", WHO, "--user", "ann", "--json").json
    assert (mine["text"], mine["receipt"]["recalled"][0]["layer"]) == ("Mirela", "personal")
    assert "personal" in cli("ask", WHO, "--user", "ann", "--receipt").out
    assert cli("ask", WHO, "--user", "ann", "--table", "company").code == 2
    proposal = cli("promote", "propose", lesson, "--to", "company", "--author", "ann", "--reason", "all ask", "--json")
    assert "all ask" in cli("promote", "list").out
    accepted = cli("promote", "accept", proposal.json["id"][:16], "--by", "tom")
    assert "accepted" in accepted.out
    assert cli("ask", WHO, "--json").json["text"] == "Mirela"
    assert "No proposal is pending" in cli("promote", "list").err
    assert "accepted by tom" in cli("promote", "list", "--status", "all").out
    assert cli("promote", "reject", proposal.json["id"], "--by", "tom").code == 2
    assert cli("promote", "list", "--status", "lost").code == 2
