"""What mail programs and people of Europe write around their words, language by language; all in lower case."""

# ruff: noqa: RUF001 - Greek and Cyrillic letters look like Latin ones

WROTE = """
wrote|writes|schrieb|schreibt|geschrieben|a écrit|écrit|ecrit|escribió|escribio|escreveu|ha scritto|scrisse
schreef|geschreven|skrev|skreiv|kirjoitti|skrifaði|napisał|napisała|napisał\\(a\\)|pisze|napsal|napsala
napsal\\(a\\)|napísal|napísala|napísal\\(a\\)|írta|írtam|a scris|scris|написа|пише|написал|написала|написав
написао|написао/ла|пишет|napisana przez|missatge de
написала|napisao|napisala|napisao/la|napisal|je napisal|piše|έγραψε|έγραψες|kirjutas|rakstīja|rašė|parašė|kiteb
scríobh|va escriure|ha escrit|escrigué|idatzi du|escribiu|yazdı|shkroi
""".strip().replace("\n", "|")
"""Verbs of the line above a quoted mail."""

FROM = """
from|von|de|da|van|fra|från|lähettäjä|frá|od|feladó|de la|от|šalje|pošiljatelj|απο|από|saatja|no|nuo
mibgħut minn|ó|remitent|nork|від|kimden|nga|отправитель|відправник
""".strip().replace("\n", "|")
SENT = """
sent|date|gesendet|datum|envoyé|envoye|enviado|enviado el|enviada em|enviada|fecha|data|inviato|verzonden|sendt
skickat|dato|lähetetty|päivämäärä|sent|dagsetning|wysłano|odesláno|odoslané|dátum|elküldve|trimis|изпратено|дата
poslano|poslato|στάλθηκε|ημερομηνία|saadetud|kuupäev|nosūtīts|datums|išsiųsta|data ta|seolta|enviat|bidalia
отправлено|надіслано|gönderildi|tarih|dërguar
""".strip().replace("\n", "|")
TO = """
to|an|à|a|para|aan|til|till|vastaanottaja|do|komu|címzett|către|до|prima|za|προς|kellele|adressaat|kam|kas|lil
chuig|per a|nori|кому|kime|për|cc|kopie|copia|kopia|kopio
""".strip().replace("\n", "|")
SUBJECT = """
subject|betreff|objet|sujet|ogg|asunto|assunto|oggetto|onderwerp|emne|ämne|aihe|efni|temat|předmět|predmet|tárgy|subiect
относно|тема|naslov|zadeva|θέμα|teema|tēma|tema|suġġett|ábhar|assumpte|gaia|konu|lënda
""".strip().replace("\n", "|")
"""Labels of the headers that programs copy above a quoted mail."""

SENT_FROM = """
sent from|sent via|get outlook for|gesendet von|gesendet mit|von meinem|holen sie sich outlook|envoyé de|envoyé depuis
envoyé à partir|envoyé avec|sent with|sent using
télécharger outlook|enviado desde|enviado do|enviado de|obtener outlook|obter o outlook|inviato da
ottieni outlook|verzonden vanaf|verstuurd vanaf|outlook voor|sendt fra|hent outlook|skickat från|hämta outlook
lähetetty|hanki outlook|sent úr|wysłano z|wysłane z|wysyłane z|pobierz program outlook|odesláno z|odoslané z
získejte outlook|küldve|trimis de pe|изпратено от|poslano s|poslano iz|στάλθηκε από|αποστολή από|saadetud minu
nosūtīts no|išsiųsta iš|отправлено с|надіслано з|gönderildi
""".strip().replace("\n", "|")
"""How the line that a telephone adds begins."""

SIGN_OFFS = frozenset(
    """
best regards|kind regards|warm regards|with kind regards|with best regards|regards|sincerely|yours sincerely
yours faithfully|best wishes|all the best|many regards|cheers|br|kr|yours truly|with warm regards
mit freundlichen grüßen|mit freundlichen grüssen|mit freundlichem gruß|mit freundlichem gruss|freundliche grüße
freundliche grüsse|beste grüße|beste grüsse|mit besten grüßen|mit besten grüssen|viele grüße|viele grüsse
liebe grüße|liebe grüsse|herzliche grüße|herzliche grüsse|schöne grüße|sonnige grüße|hochachtungsvoll|mfg|vg|lg
bg|gruß|gruss|grüße|grüsse|mit freundlichen gruessen|viele gruesse|cordialement|bien cordialement|bien à vous
sincères salutations|meilleures salutations|salutations distinguées|salutations|cdlt|bien amicalement|saludos
un saludo|saludos cordiales|un cordial saludo|atentamente|cordialmente|muy atentamente|reciba un cordial saludo
saludos cordiais|atenciosamente|cumprimentos|com os melhores cumprimentos|melhores cumprimentos|att|abraço
abraços|cordiais saudações|cordiali saluti|distinti saluti|saluti|un saluto|un cordiale saluto|i migliori saluti
buona giornata|met vriendelijke groet|met vriendelijke groeten|vriendelijke groet|vriendelijke groeten|groeten
hartelijke groet|hartelijke groeten|mvg|groet|med venlig hilsen|venlig hilsen|bedste hilsner|hilsen|mvh
med vennlig hilsen|vennlig hilsen|beste hilsen|vh|med vänlig hälsning|med vänliga hälsningar|vänliga hälsningar
vänlig hälsning|hälsningar|bästa hälsningar|ystävällisin terveisin|terveisin|parhain terveisin|yt|terv
kær kveðja|bestu kveðjur|með kveðju|kveðja|með bestu kveðju|pozdrawiam|z poważaniem|serdecznie pozdrawiam
pozdrawiam serdecznie|z wyrazami szacunku|s pozdravem|s úctou|s přátelským pozdravem|hezký den|s pozdravom
s priateľským pozdravom|üdvözlettel|tisztelettel|üdv|baráti üdvözlettel|köszönettel|cu stimă|cu respect
toate cele bune|o zi bună|cu considerație|поздрави|с уважение|с поздрав|сърдечни поздрави|srdačan pozdrav
lijep pozdrav|lep pozdrav|s poštovanjem|pozdrav|srdačno|lp|lijepi pozdrav|s spoštovanjem|prijazen pozdrav
с поштовањем|поздрав|με εκτίμηση|φιλικά|χαιρετισμούς|με φιλικούς χαιρετισμούς|μετά τιμής|lugupidamisega
parimate soovidega|tervitades|ar cieņu|ar sveicieniem|pagarbiai|su pagarba|linkėjimai|tislijiet|dejjem tiegħek
le meas|le dea-mhéin|salutacions|salutacions cordials|atentament|agur bero bat|adeitasunez|unha aperta|un saúdo
saúdos|с уважением|с наилучшими пожеланиями|з повагою|з найкращими побажаннями|saygılarımla|saygılarımızla
iyi çalışmalar|me respekt|përshëndetje
""".strip()
    .replace("\n", "|")
    .split("|")
)
"""What stands alone on the line above a name. No thanks among them: those may be all that a mail says."""

CONFIDENTIAL = """
confidential|vertraulich|confidentiel|confidencial|riservat|confidenzial|vertrouwelijk|fortrolig|konfidentiell
konfidensiell|luottamuksellis|luottamuksellinen|trúnað|poufn|důvěrn|dôvern|bizalmas|confidenţial|confidențial
поверител|конфиденциал|povjerljiv|poverljiv|zaupn|εμπιστευτικ|konfidentsiaal|konfidenciāl|konfidencial
kunfidenzjali|rúnda|confidencialitat|konfidentzial|конфіденцій|gizli|intended recipient|intended only
intended solely|legally privileged|unsere datenschutz|sensible à l'environnement|consider the environment
an die umwelt
""".strip().replace("\n", "|")
MESSAGE = """
mail|message|nachricht|courriel|mensaje|correo|mensagem|messaggio|posta|bericht|meddelelse|besked|melding
meddelande|viesti|skilaboð|póst|wiadomość|zpráv|správ|üzenet|mesaj|съобщение|имейл|poruk|sporočil|μήνυμα|kiri
sõnum|ziņojum|vēstul|laišk|praneš|messaġġ|teachtaireacht|missatge|mezu|письмо|сообщение|повідомлення|лист|ileti
mesazh
""".strip().replace("\n", "|")
"""A paragraph with one of each is what a mail server or a lawyer put there."""

WARNINGS = """
external|extern|externe|externo|esterno|extern e-mail|caution|achtung|attention|warnung|warning|atención|atenção
attenzione|let op|obs|varoitus|uwaga|upozornění|figyelem|atenție|внимание|pozor|προσοχή|[external]|[extern]
""".strip().replace("\n", "|")
OUTSIDE = """
outside|originated|external|außerhalb|ausserhalb|extern|extérieur|externe|fuera de|externo|fora da|esterno
buiten|udenfor|utanför|utenfor|ulkopuolelta|spoza|zewnętrz|mimo|kívül|din afara|извън|izvan|zunaj|εκτός|väljast
""".strip().replace("\n", "|")
"""The banner that a mail server puts above mail from outside."""

AWAY = """
out of (?:the )?office|ooo\\b|on (?:annual |parental |sick |maternity |paternity )?(?:vacation|holiday|leave)\\b
on holidays|away from (?:the|my) (?:office|desk)|i am away|i'm away|am currently away|abwesend|abwesenheit
außer haus|ausser haus|nicht im (?:büro|hause?)|im urlaub|in elternzeit|absent du bureau|absence du bureau
en congé|en vacances|absente? jusqu|je suis absent|message d'absence|absence :|fuera de (?:la )?oficina|ausencia
ausente|de vacaciones|fora do escrit[oó]rio|aus[eê]ncia|de f[eé]rias|em f[eé]rias|fuori (?:sede|ufficio)
in ferie|assenza dall'ufficio|sono assente|sarò assente
assente (?:fino|dal)|afwezig|niet op kantoor|met vakantie|op vakantie
fraværende|ikke på kontoret|på ferie|holder ferie|ikke til stede|frånvarande|frånvaro|inte på kontoret
på semester|har semester|poissa|lomalla|poissaolo|ekki við|í fríi|fjarverandi|nieobecn|poza biurem|na urlopie
mimo kancelář|nepřítomn|na dovolen|mimo kancelári|neprítomn|házon kívül|szabadságon|irodán kívül|nem tartózkodom
în concediu|absent din birou|lipsesc din birou|nu sunt la birou|извън офиса|в отпуск|отсъств|izvan ureda
na godišnjem|odsut|van kancelarije|na odmoru|odsoten|odsotn|na dopustu|izven pisarne|εκτός γραφείου|σε άδεια
απουσι|kontorist väljas|puhkusel|eemal kontorist|ārpus biroja|atvaļinājumā|prombūtn|ne biure|atostogauju
atostogose|nesu biure|barra mill-uffiċċju|as láthair|as oifig|fora de l'oficina|de vacances|bulegotik kanpo
oporretan|oporrean|fóra da oficina|на одмор|не в офисе|вне офиса|в отпуске|буду отсутствовать|поза офісом|у відпустці
ofis dışında|izindeyim|izinde|jashtë zyrës|me pushime
""".strip().replace("\n", "|")
"""Absences."""

AUTOMATIC_REPLY = """
auto(?:matic|mated)?[ -]?(?:reply|response)|automatische (?:antwort|abwesenheits)|réponse automatique
respuesta autom[aá]tica|resposta autom[aá]tica|risposta automatica|automatisch(?:e)? antwoord|automatisk svar
autosvar|automatiskt svar|automaattinen vastaus|sjálfvirkt svar|odpowiedź automatyczna|automatyczna odpowiedź
automatická odpověď|automatická odpoveď|automatikus válasz|răspuns automat|автоматичен отговор
automatski odgovor|samodejni odgovor|αυτόματη απάντηση|automaatvastus|automaatne vastus|automātiskā atbilde
automātiska atbilde|automatinis atsakymas|tweġiba awtomatika|freagra uathoibríoch|resposta automàtica
erantzun automatikoa|автоматический ответ|автоответ|автоматична відповідь|otomatik yanıt|përgjigje automatike
аутоматски одговор
""".strip().replace("\n", "|")

UNDELIVERED = """
undeliver|delivery (?:has )?fail|delivery status|delivery notif|mail (?:delivery )?failed|returned mail|failure notice
could not be delivered|not delivered|unzustellbar|nicht zugestellt|non remis|no se (?:puede|pudo) entregar
no se ha podido entregar|non recapitabile|impossibile recapitare|mancato recapito|onbestelbaar|niet (?:te )?bezorgd?
não é possível entregar|não entregue|nie można dostarczyć|niedostarcz|nedoručiteln|nedoručen|olevererbar
kan (?:inte|ikke) levere|kunne ikke leveres|ei voi(?:da)? toimittaa|toimitus epäonnistui|kézbesíthetetlen|nelivrabil
nu poate fi livrat|недоставлен|не удается доставить|не е доставено|αδύνατη η παράδοση|teslim edilemedi|neisporuč
nedostavlj|neįteikt|nepiegādā|kättetoimetamat
""".strip().replace("\n", "|")
"""What mail servers write over a mail that they give back."""

BACK = """
until|till|through|thru|back|return|again on|available again|reachable again|zurück|wieder|bis |jusqu|retour
de retour|vuelvo|volver|vuelta|hasta|regres|disponible|disponível|até|volto|retorno|fino|rientr|torner|ritorn
reincorpor|tot |terug|weer |tilbage|indtil|til og med
frem til|til d\\.|til den|til (?=\\d)|t\\.o\\.m|tilbake|igjen|tillbaka|åter|till och med|palaan|takaisin|saakka|asti
kunnes|aftur|kem til|til baka|do dnia|wracam|wrócę|powrót|powróc|będę ponownie|zpět|vrátím|návrat|späť|vrátim
opäť|vissza|újra|-ig|míg|revin|reveni|până|înapoi|връщам|обратно|до |отново|natrag|(?<!\\w)do (?=\\d)|vraćam|vratit
nazad|ponovno|ponovo|nazaj|vrnem|vrnil|spet|επιστρ|πίσω|μέχρι|έως|tagasi|kuni|naasen|atgriez|līdz|atpakaļ|grįš
grįžt|iki|lura|sa |ar ais|go dtí|torno|fins|itzul|arte|ata o|volvo|вернусь|возвращ|повернуся|повернення|kadar
döneceğ|dönüş|deri|kthehem
""".strip().replace("\n", "|")
"""Words of the sentence that says until when."""

LANGUAGES = (
    *(
        "en",
        "de",
        "fr",
        "es",
        "pt",
        "it",
        "nl",
        "da",
        "nb",
        "nn",
        "sv",
        "fi",
        "is",
        "pl",
        "cs",
        "sk",
        "hu",
        "ro",
        "bg",
        "hr",
    ),
    *("sr", "sr_Latn", "bs", "sl", "mk", "el", "et", "lv", "lt", "mt", "ga", "ca", "eu", "gl", "ru", "uk", "tr", "sq"),
)
"""Locales whose names of months are understood."""
