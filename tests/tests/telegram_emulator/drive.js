// Runs telegram-test-api, an emulator that knows nothing of us, and plays the operator in it:
//   node drive.js PACKAGE_DIR PORT TOKEN CHAT
// Each message of the bot's is printed as one line of JSON. The first is answered with /help, that with /stop, and
// the question that follows with a press on its first button.

const [dir, port, token, chat] = process.argv.slice(2);
const TelegramServer = require(dir);
const server = new TelegramServer({ port: Number(port), host: '127.0.0.1' });
const operator = server.getClient(token, { userId: Number(chat), chatId: Number(chat), type: 'private' });
const says = (text) => operator.sendMessage(operator.makeMessage(text));

let messages = 0;
server.on('AddedBotMessage', () => {
    const { message } = server.storage.botMessages.at(-1);
    console.log(JSON.stringify(message));
    messages += 1;
    if (messages === 1) says('/help');
    if (messages === 2) says('/stop trader-1');
    if (messages === 3) operator.sendCallback(operator.makeCallbackQuery(message.reply_markup.inline_keyboard[0][0].callback_data));
});
server.start().then(() => console.log('listening'));
